// SPDX-License-Identifier: Apache-2.0
// SliceApi on a real API server.
#include <atomic>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/dra/slices/slice_publisher.h"
#include "fairlead/kube/reflector.h"
#include "fairlead/kube/resource.h"
#include "fairlead/kube/resources/node.h"
#include "fairlead/kube/resources/slice.h"

namespace fairlead::dra {
namespace {

using SliceReflector = kube::TypedReflector<kube::ResourceSlice>;

class KubeSliceApi final : public SliceApi {
 public:
  KubeSliceApi(kube::Client& client, const std::string& driver_name, const std::string& node_name)
      : client_(client), slices_(client), selector_{.driver = driver_name, .node_name = node_name} {}
  ~KubeSliceApi() override { unwatch(); }

  Result<std::string> node_uid(std::stop_token stop) override {
    FL_ASSIGN(auto node, kube::Resource<kube::Node>(client_).get(
                             {.namespace_ = {}, .name = selector_.node_name}, {.stop = std::move(stop)}));
    if (node.meta.uid.empty()) {
      return Error(Code::kCorrupt, "get nodes: node " + selector_.node_name + " has no metadata.uid");
    }
    return std::move(node.meta.uid);
  }
  Result<std::vector<kube::ResourceSlice>> list(std::stop_token stop) override {
    FL_ASSIGN(const auto ours, kube::selection_of(selector_));
    FL_ASSIGN(auto all, slices_.list(ours, {.stop = std::move(stop)}));
    return std::move(all.items);
  }
  Result<kube::ResourceSlice> create(const kube::ResourceSlice& slice, std::stop_token stop) override {
    return slices_.create(slice, {.stop = std::move(stop)});
  }
  Result<kube::ResourceSlice> update(const kube::ResourceSlice& slice, std::stop_token stop) override {
    return slices_.update(slice, {.stop = std::move(stop)});
  }
  Result<> remove(const kube::ResourceSlice& slice, std::stop_token stop) override {
    return slices_.remove(slice.meta, {.stop = std::move(stop)});
  }

  void watch(std::function<void(const SliceEvent&)> on_event) override {
    on_event_ = std::move(on_event);
    SliceReflector::Callbacks callbacks{
        .on_sync =
            [this](const std::vector<kube::ResourceSlice>& all) {
              on_event_({.all = std::make_shared<const std::vector<kube::ResourceSlice>>(all)});
            },
        .on_event = [this](kube::EventType type, const kube::ResourceSlice& slice) { pass_on(type, slice); }};
    kube::ReflectorOptions options;
    options.on_error = [](const Error& error) {
      log::debug("watch of our slices failed, trying again", {{"error", error.what()}});
    };
    auto ours = kube::selection_of(selector_);
    if (!ours) {
      log::error("cannot watch our slices", {{"error", ours.error().what()}});
      return;
    }
    reflector_ =
        std::make_unique<SliceReflector>(client_, *std::move(ours), std::move(callbacks), std::move(options));
    reflector_->start();
  }
  void unwatch() override {
    if (reflector_) {
      reflector_->stop();
      reflector_.reset();
    }
  }

 private:
  void pass_on(kube::EventType type, const kube::ResourceSlice& slice) const {
    on_event_(
        {.kind = type == kube::EventType::kDeleted ? SliceEvent::Kind::kDeleted : SliceEvent::Kind::kChanged,
         .name = slice.meta.name,
         .uid = slice.meta.uid,
         .resource_version = slice.meta.resource_version});
  }

  kube::Client& client_;
  kube::Resource<kube::ResourceSlice> slices_;
  kube::SliceSelector selector_;
  std::function<void(const SliceEvent&)> on_event_;  // set before the reflector's thread starts
  std::unique_ptr<SliceReflector> reflector_;
};

}  // namespace

std::unique_ptr<SliceApi> make_slice_api(kube::Client& client, const std::string& driver_name,
                                         const std::string& node_name) {
  return std::make_unique<KubeSliceApi>(client, driver_name, node_name);
}

}  // namespace fairlead::dra
