// SPDX-License-Identifier: Apache-2.0
// What it costs to read a large node from nothing: a made-up machine (tools/generate_node.py) of 8 PFs with
// 256 VFs each and 16 RDMA devices, its dumps decoded and joined with PCI facts from a sysfs on tmpfs.
// Nothing is kept from one round to the next. Any user. Run: inventory_bench [--benchmark_repetitions=5]
#include <benchmark/benchmark.h>

#include <optional>
#include <string>

#include "fairlead/sys/inventory.h"
#include "fairlead/sys/testing/recorded_node.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::sys {
namespace {

using testing_support::RecordedNode;

Result<RecordedNode> make_node() {
  const testing_support::TemporaryFolder folder;
  FL_TRY(testing_support::generate_node(folder.path().string(), {}));
  return RecordedNode::load(folder.path().string());
}

const Result<RecordedNode>& node() {
  static const Result<RecordedNode> made = make_node();
  return made;
}

void decode_dumps(benchmark::State& state) {
  if (!node()) {
    state.SkipWithError(node().error().what().c_str());
    return;
  }
  for ([[maybe_unused]] auto round : state) {
    auto links = node()->links();
    auto routes = node()->routes();
    benchmark::DoNotOptimize(links);
    benchmark::DoNotOptimize(routes);
  }
  state.counters["bytes"] = static_cast<double>(node()->dump("links").size());
}
BENCHMARK(decode_dumps)->Unit(benchmark::kMillisecond);

void read_inventory_cold(benchmark::State& state) {
  if (!node()) {
    state.SkipWithError(node().error().what().c_str());
    return;
  }
  std::size_t links = 0;
  for ([[maybe_unused]] auto round : state) {
    const Inventory inventory =
        make_inventory(node()->links(), node()->routes(), {.sysfs_root = node()->sysfs_root()});
    links = inventory.links().size();
  }
  state.counters["links"] = static_cast<double>(links);
}
BENCHMARK(read_inventory_cold)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fairlead::sys

BENCHMARK_MAIN();
