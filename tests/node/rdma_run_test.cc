// SPDX-License-Identifier: Apache-2.0
// An RDMA device in real containers on drydock: its device nodes are character devices with the node's numbers, in a pod
// of its own network and in one with hostNetwork. The kernel's part is played by rdma_driver.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::HasSubstr;

/// Why containers cannot be given device nodes here; empty if they can.
std::string why_no_mknod() {
  const std::string path = ::testing::TempDir() + "fl-mknod-" + std::to_string(::getpid());
  if (::mknod(path.c_str(), S_IFCHR | 0600, ::makedev(1, 3)) != 0) {
    const int e = errno;
    return std::string("this machine lets no process make character devices (mknod: ") + std::strerror(e) +
           ")";
  }
  ::unlink(path.c_str());
  return "";
}

std::string manifest(const std::string& script, const std::string& pod_spec) {
  return R"(apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: rdma-devices}
spec:
  selectors:
  - cel:
      expression: device.driver == "dra.example.com" && device.attributes["dra.example.com"].type == "rdma"
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: hca}
spec:
  spec:
    devices:
      requests:
      - name: hca
        exactly: {deviceClassName: rdma-devices}
      config:
      - requests: [hca]
        opaque:
          driver: dra.example.com
          parameters: {type: rdma, rdma: {kind: uverbs}}
---
apiVersion: v1
kind: Pod
metadata: {name: test-pod}
spec:
  restartPolicy: Never
)" + pod_spec +
         R"(  resourceClaims:
  - {name: fast, resourceClaimTemplateName: hca}
  containers:
  - name: main
    image: busybox
    command: ["/bin/sh", "-ec", ')" +
         script + R"(']
    resources:
      claims:
      - name: fast
)";
}

class RdmaRun : public ::testing::TestWithParam<const char*> {};

TEST_P(RdmaRun, ContainerHasItsDeviceNodes_AndTheyWork) {
  if (const std::string why = why_no_drydock(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  if (const std::string why = why_no_mknod(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const std::string driver =
      std::string(RDMA_DRIVER) +
      " dra.example.com {kubeconfig} {node} {registry} {plugins}/dra.example.com {cdi} {state}";
  const std::string script =
      "stat -c \"%n %F %t:%T %a\" /dev/infiniband/*; echo text >/dev/infiniband/uverbs0; "
      "echo read $(head -c 5 /dev/infiniband/rdma_cm | wc -c); echo device $FAIRLEAD_FAST_HCA";
  const RunOutcome run =
      run_drydock({"--driver", driver, "-f", write_manifest(manifest(script, GetParam())), "--json"});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("/dev/infiniband/uverbs0 character special file 1:3 666"));
  EXPECT_THAT(run.output, HasSubstr("/dev/infiniband/rdma_cm character special file 1:5 666"));
  EXPECT_THAT(run.output, HasSubstr("read 5"));
  EXPECT_THAT(run.output, HasSubstr("device soft0"));
}

INSTANTIATE_TEST_SUITE_P(Pods, RdmaRun, ::testing::Values("", "  hostNetwork: true\n"), [](const auto& test) {
  return std::string(test.param).empty() ? "OwnNetwork" : "HostNetwork";
});

}  // namespace
}  // namespace fairlead::testing
