// SPDX-License-Identifier: Apache-2.0
// The registry of device kinds. Filled once, explicitly, in app/; read-only afterwards.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/formats/fields_text.h"

namespace fairlead::devices {

class Registry {
 public:
  /// Adding two kinds of one name is a programming error: it aborts.
  void add(std::unique_ptr<Kind> kind);
  /// nullptr when none of that name is registered.
  [[nodiscard]] const Kind* find(const KindName& name) const;
  /// The kind of a plan that read() or plan() made; DevicePlan::problem when this version cannot work with it.
  [[nodiscard]] Result<const Kind*> kind_of(const DevicePlan& plan) const;
  /// Whether any kind finds something of the claim there (Kind::is_claim_in).
  [[nodiscard]] Result<bool> is_claim_in(const Side& pod, const Marker& claim) const;
  /// All kinds, by name.
  [[nodiscard]] std::vector<const Kind*> kinds() const;

  /// What all kinds offer, each device once: of two with one name that of the first kind. Of the kinds'
  /// problems the first.
  [[nodiscard]] Offers offers(const OfferInput& input) const;

  /// The accepted fields of each type and kind, in alphabetical order.
  [[nodiscard]] std::vector<fields::TypeFields> fields() const;

  /// The decoded configs of a device.
  struct Decoded {
    const Kind* kind = nullptr;
    fields::Values values;
  };
  /// One entry of a device by itself, with what it alone says.
  struct Entry {
    const Kind* kind = nullptr;
    fields::Values values;
    std::string type_path, kind_path;  // of the two words that chose the kind
  };
  /// Decodes one entry by the table of the kind that it names. Required fields are not asked for.
  Result<Entry> read_entry(const dra::DeviceConfig& config) const;
  /// Reads `type` and `kind` of every config (weakest first) and the fields of those of the last one's kind.
  /// Configs of another kind before them are dropped: a claim may ask for something else than its class
  /// suggests. nullopt: there is no config.
  Result<std::optional<Decoded>> decode(const std::vector<dra::DeviceConfig>& configs) const;

  /// The entries of each part of a device of this kind, weakest first; entries of other kinds are left out.
  struct PartConfigs {
    std::string part;
    std::vector<dra::DeviceConfig> configs = {};
  };
  Result<std::vector<PartConfigs>> part_configs(const Kind& kind,
                                                const std::vector<dra::DeviceConfig>& configs) const;
  /// All configs of a device, where its claim may write every field (level privileged).
  Result<devices::Resolved> resolve(const std::vector<dra::DeviceConfig>& configs) const;

  /// What was allocated, whatever its parameters are.
  struct Allocated {
    /// An allocated device that one claim has as a whole: what it is offered as, and the kind that does.
    const Kind* owner = nullptr;
    std::optional<Offer> offer;
    /// By which the device is given as it is if it has no parameters; nullptr: it needs some.
    const Kind* kind_without_parameters = nullptr;
  };
  /// Errors: the device is not the one that was reported, or cannot be allocated like that.
  Result<Allocated> find(const PlanInput& input) const;
  /// Lets the kind of the resolved configs plan. Without any config a device that is allocated as a whole is
  /// given as it is, by the kind that offers it.
  static Result<DevicePlan> plan(const PlanInput& input, const Allocated& allocated,
                                 const Resolved& resolved);
  /// The same with find().
  Result<DevicePlan> plan(const PlanInput& input, const Resolved& resolved) const;
  /// A plan from a record: `name` and `request` are given, `body` is PlanBody::to_json(). What this version
  /// cannot work with is in DevicePlan::problem.
  void read(DevicePlan& plan, std::string_view body, std::string_view name_in_pod) const;

 private:
  struct Choice {
    const Kind* kind = nullptr;
    fields::Section section;
    std::string type_path, kind_path;
  };
  Result<Choice> choose(const dra::DeviceConfig& config) const;
  /// An allocated device that one claim has as a whole, and the kind that offers it.
  struct Owned {
    const Kind* owner = nullptr;
    Offer offer;
  };
  [[nodiscard]] std::optional<Owned> find_owned(const PlanInput& input) const;
  static Result<DevicePlan> plan_by(const Kind& kind, const PlanInput& input, const fields::Values& values);
  static Result<DevicePlan> plan_part(const PlanInput& device, const Resolved& whole, std::string_view name);
  [[nodiscard]] std::vector<std::string_view> types() const;
  [[nodiscard]] std::vector<std::string_view> kinds_of(std::string_view type) const;
  [[nodiscard]] std::vector<fields::KindFields> kind_fields(std::string_view type) const;

  std::map<std::string, std::map<std::string, std::unique_ptr<Kind>, std::less<>>, std::less<>> kinds_;
};

}  // namespace fairlead::devices
