// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/schema.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "drydock/cluster/quantity.h"

namespace drydock {
namespace {

// One line a struct: `Name: field=type field=type ...`; a line that starts with blanks goes on.
// s string, i integer, b bool, q quantity, any: anything, [x] list, {x} map, else a struct of the table.
// From staging/src/k8s.io/api/{core/v1,resource/v1,apps/v1,batch/v1,rbac/v1}/types.go.
constexpr std::string_view kTable = R"(
ObjectMeta: name=s generateName=s namespace=s uid=s resourceVersion=s generation=i creationTimestamp=s
  deletionTimestamp=s deletionGracePeriodSeconds=i labels={s} annotations={s} ownerReferences=[OwnerReference]
  finalizers=[s] managedFields=any selfLink=s
OwnerReference: apiVersion=s kind=s name=s uid=s controller=b blockOwnerDeletion=b
LabelSelector: matchLabels={s} matchExpressions=[LabelRequirement]
LabelRequirement: key=s operator=s values=[s]
NodeSelector: nodeSelectorTerms=[NodeSelectorTerm]
NodeSelectorTerm: matchExpressions=[LabelRequirement] matchFields=[LabelRequirement]
Condition: type=s status=s reason=s message=s lastTransitionTime=s lastProbeTime=s lastHeartbeatTime=s
  observedGeneration=i

Namespace: apiVersion=s kind=s metadata=ObjectMeta spec=any status=any
ConfigMap: apiVersion=s kind=s metadata=ObjectMeta data={s} binaryData={s} immutable=b
ServiceAccount: apiVersion=s kind=s metadata=ObjectMeta secrets=any imagePullSecrets=any
  automountServiceAccountToken=b
Event: apiVersion=s kind=s metadata=ObjectMeta involvedObject=ObjectReference reason=s message=s
  source=EventSource firstTimestamp=s lastTimestamp=s count=i type=s eventTime=s series=any action=s related=any
  reportingComponent=s reportingInstance=s
ObjectReference: apiVersion=s kind=s namespace=s name=s uid=s resourceVersion=s fieldPath=s
EventSource: component=s host=s
Node: apiVersion=s kind=s metadata=ObjectMeta spec=NodeSpec status=any
NodeSpec: podCIDR=s podCIDRs=[s] providerID=s unschedulable=b taints=[NodeTaint] configSource=any externalID=s
NodeTaint: key=s value=s effect=s timeAdded=s

Pod: apiVersion=s kind=s metadata=ObjectMeta spec=PodSpec status=PodStatus
PodTemplate: metadata=ObjectMeta spec=PodSpec
PodSpec: volumes=[any] initContainers=[Container] containers=[Container] ephemeralContainers=any restartPolicy=s
  terminationGracePeriodSeconds=i activeDeadlineSeconds=i dnsPolicy=s nodeSelector={s} serviceAccountName=s
  serviceAccount=s automountServiceAccountToken=b nodeName=s hostNetwork=b hostPID=b hostIPC=b
  shareProcessNamespace=b securityContext=any imagePullSecrets=any hostname=s subdomain=s affinity=any
  schedulerName=s tolerations=[Toleration] hostAliases=any priorityClassName=s priority=i dnsConfig=any
  readinessGates=any runtimeClassName=s enableServiceLinks=b preemptionPolicy=s overhead={q}
  topologySpreadConstraints=any setHostnameAsFQDN=b os=any hostUsers=b schedulingGates=any
  resourceClaims=[PodResourceClaim] resources=any hostnameOverride=s workloadRef=any
PodResourceClaim: name=s resourceClaimName=s resourceClaimTemplateName=s
Container: name=s image=s command=[s] args=[s] workingDir=s ports=any envFrom=any env=[EnvVar]
  resources=ContainerResources resizePolicy=any restartPolicy=s restartPolicyRules=any
  volumeMounts=[VolumeMount] volumeDevices=any livenessProbe=any readinessProbe=any startupProbe=any
  lifecycle=any terminationMessagePath=s terminationMessagePolicy=s imagePullPolicy=s
  securityContext=SecurityContext stdin=b stdinOnce=b tty=b
SecurityContext: capabilities=Capabilities privileged=b seLinuxOptions=any windowsOptions=any runAsUser=i
  runAsGroup=i runAsNonRoot=b readOnlyRootFilesystem=b allowPrivilegeEscalation=b procMount=s seccompProfile=any
  appArmorProfile=any
Capabilities: add=[s] drop=[s]
EnvVar: name=s value=s valueFrom=any
VolumeMount: name=s readOnly=b recursiveReadOnly=s mountPath=s subPath=s mountPropagation=s subPathExpr=s
ContainerResources: limits={q} requests={q} claims=[ContainerClaim]
ContainerClaim: name=s request=s
Toleration: key=s operator=s value=s effect=s tolerationSeconds=i
PodStatus: observedGeneration=i phase=s conditions=[Condition] message=s reason=s nominatedNodeName=s hostIP=s
  hostIPs=any podIP=s podIPs=any startTime=s initContainerStatuses=any containerStatuses=any qosClass=s
  ephemeralContainerStatuses=any resize=s resourceClaimStatuses=[PodClaimStatus]
  extendedResourceClaimStatus=any allocatedResources=any resources=any
PodClaimStatus: name=s resourceClaimName=s

Deployment: apiVersion=s kind=s metadata=ObjectMeta spec=WorkloadSpec status=any
ReplicaSet: apiVersion=s kind=s metadata=ObjectMeta spec=WorkloadSpec status=any
DaemonSet: apiVersion=s kind=s metadata=ObjectMeta spec=WorkloadSpec status=any
WorkloadSpec: replicas=i selector=LabelSelector template=PodTemplate strategy=any updateStrategy=any
  minReadySeconds=i revisionHistoryLimit=i paused=b progressDeadlineSeconds=i
Job: apiVersion=s kind=s metadata=ObjectMeta spec=JobSpec status=any
JobSpec: parallelism=i completions=i activeDeadlineSeconds=i podFailurePolicy=any successPolicy=any
  backoffLimit=i backoffLimitPerIndex=i maxFailedIndexes=i selector=LabelSelector manualSelector=b
  template=PodTemplate ttlSecondsAfterFinished=i completionMode=s suspend=b podReplacementPolicy=s managedBy=s

Role: apiVersion=s kind=s metadata=ObjectMeta rules=[PolicyRule]
ClusterRole: apiVersion=s kind=s metadata=ObjectMeta rules=[PolicyRule] aggregationRule=any
PolicyRule: verbs=[s] apiGroups=[s] resources=[s] resourceNames=[s] nonResourceURLs=[s]
RoleBinding: apiVersion=s kind=s metadata=ObjectMeta subjects=[Subject] roleRef=RoleRef
ClusterRoleBinding: apiVersion=s kind=s metadata=ObjectMeta subjects=[Subject] roleRef=RoleRef
Subject: kind=s apiGroup=s name=s namespace=s
RoleRef: apiGroup=s kind=s name=s

ResourceSlice: apiVersion=s kind=s metadata=ObjectMeta spec=ResourceSliceSpec
ResourceSliceSpec: driver=s pool=ResourcePool nodeName=s nodeSelector=NodeSelector allNodes=b devices=[Device]
  perDeviceNodeSelection=b sharedCounters=[CounterSet]
ResourcePool: name=s generation=i resourceSliceCount=i
CounterSet: name=s counters={Counter}
Counter: value=q
Device: name=s attributes={DeviceAttribute} capacity={DeviceCapacity} consumesCounters=[CounterConsumption]
  nodeName=s nodeSelector=NodeSelector allNodes=b taints=[DeviceTaint] bindsToNode=b bindingConditions=[s]
  bindingFailureConditions=[s] allowMultipleAllocations=b
DeviceAttribute: int=i bool=b string=s version=s
DeviceCapacity: value=q requestPolicy=RequestPolicy
RequestPolicy: default=q validValues=[q] validRange=ValidRange
ValidRange: min=q max=q step=q
CounterConsumption: counterSet=s counters={Counter}
DeviceTaint: key=s value=s effect=s timeAdded=s

DeviceClass: apiVersion=s kind=s metadata=ObjectMeta spec=DeviceClassSpec
DeviceClassSpec: selectors=[DeviceSelector] config=[ClassConfig] extendedResourceName=s
DeviceSelector: cel=CelSelector
CelSelector: expression=s
ClassConfig: opaque=OpaqueConfig
OpaqueConfig: driver=s parameters=any
ResourceClaim: apiVersion=s kind=s metadata=ObjectMeta spec=ClaimSpec status=ClaimStatus
ResourceClaimTemplate: apiVersion=s kind=s metadata=ObjectMeta spec=ClaimTemplateSpec
ClaimTemplateSpec: metadata=ObjectMeta spec=ClaimSpec
ClaimSpec: devices=DeviceClaim
DeviceClaim: requests=[DeviceRequest] constraints=[DeviceConstraint] config=[ClaimConfig]
DeviceRequest: name=s exactly=ExactRequest firstAvailable=[SubRequest]
ExactRequest: deviceClassName=s selectors=[DeviceSelector] allocationMode=s count=i adminAccess=b
  tolerations=[Toleration] capacity=CapacityRequirements
SubRequest: name=s deviceClassName=s selectors=[DeviceSelector] allocationMode=s count=i
  tolerations=[Toleration] capacity=CapacityRequirements
CapacityRequirements: requests={q}
DeviceConstraint: requests=[s] matchAttribute=s distinctAttribute=s
ClaimConfig: requests=[s] opaque=OpaqueConfig
ClaimStatus: allocation=Allocation reservedFor=[Consumer] devices=[AllocatedDevice]
Allocation: devices=AllocatedDevices nodeSelector=NodeSelector allocationTimestamp=s
AllocatedDevices: results=[AllocationResult] config=[AllocationConfig]
AllocationResult: request=s driver=s pool=s device=s adminAccess=b tolerations=[Toleration]
  bindingConditions=[s] bindingFailureConditions=[s] shareID=s consumedCapacity={q}
AllocationConfig: source=s requests=[s] opaque=OpaqueConfig
Consumer: apiGroup=s resource=s name=s uid=s
AllocatedDevice: driver=s pool=s device=s shareID=s conditions=[Condition] data=any networkData=NetworkData
NetworkData: interfaceName=s ips=[s] hardwareAddress=s
)";

using Fields = std::map<std::string, std::string, std::less<>>;
using Table = std::map<std::string, Fields, std::less<>>;

Table parse_table() {
  Table table;
  Fields* current = nullptr;
  std::istringstream lines{std::string(kTable)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      if (word.ends_with(':')) {
        current = &table[word.substr(0, word.size() - 1)];
        continue;
      }
      const auto equals = word.find('=');
      current->emplace(word.substr(0, equals), word.substr(equals + 1));
    }
  }
  return table;
}

const Table& table() {
  static const Table parsed = parse_table();
  return parsed;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t same = diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, same});
    }
  }
  return row[b.size()];
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

struct ScalarRule {
  std::string_view wanted;
  bool (*takes)(const Json&);
};

bool is_quantity(const Json& value) {
  return value.is_number() || (value.is_string() && Quantity::parse(value.get_ref<const std::string&>()));
}

const ScalarRule* scalar_rule(std::string_view type) {
  static const std::map<std::string_view, ScalarRule> rules{
      {"s", {.wanted = "a string", .takes = [](const Json& v) { return v.is_string(); }}},
      {"i", {.wanted = "an integer", .takes = [](const Json& v) { return v.is_number_integer(); }}},
      {"b", {.wanted = "true or false", .takes = [](const Json& v) { return v.is_boolean(); }}},
      {"q", {.wanted = R"(a quantity such as "1", "500m" or "1Gi")", .takes = is_quantity}}};
  const auto it = rules.find(type);
  return it == rules.end() ? nullptr : &it->second;
}

std::string show(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) {
    text = text.substr(0, 57) + "...";
  }
  return text;
}

/// Walks a value along the table. Reads only, or changes in place: Walker<const Json> or Walker<Json>.
template <class Value>
class Walker {
 public:
  static constexpr bool kChanges = !std::is_const_v<Value>;

  void walk(std::string_view type, Value& value, const std::string& path) {
    if (type == "any" || value.is_null()) {
      return;
    }
    if (const ScalarRule* rule = scalar_rule(type)) {
      scalar(*rule, type, value, path);
    } else if (type.front() == '[') {
      list(type.substr(1, type.size() - 2), value, path);
    } else if (type.front() == '{') {
      map(type.substr(1, type.size() - 2), value, path);
    } else {
      fields(type, value, path);
    }
  }
  std::vector<FieldProblem> problems;

 private:
  void wrong(const std::string& path, std::string_view wanted, const Json& value) {
    std::string found(describe_type(value));
    if (value.is_string()) {
      found = show(value);
    } else if (value.is_primitive() && !value.is_null()) {
      found.replace(0, 1, "the");  // "a number" -> "the number 1"
      found += " " + show(value);
    }
    problems.push_back({FieldProblem::Type::kWrongType, path.empty() ? "(root)" : path,
                        "must be " + std::string(wanted) + ", not " + found});
  }
  void scalar(const ScalarRule& rule, std::string_view type, Value& value, const std::string& path) {
    if (!rule.takes(value)) {
      wrong(path, rule.wanted, value);
      return;
    }
    if constexpr (kChanges) {
      if (type == "q") {
        const std::string text = value.is_string() ? value.template get<std::string>() : value.dump();
        if (const auto quantity = Quantity::parse(text)) {
          value = quantity->to_string();
        }
      }
    }
  }
  void list(std::string_view type, Value& value, const std::string& path) {
    if (!value.is_array()) {
      wrong(path, "a list", value);
      return;
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
      element(type, value[i], path + "[" + std::to_string(i) + "]");
    }
  }
  void map(std::string_view type, Value& value, const std::string& path) {
    if (!value.is_object()) {
      wrong(path, "an object", value);
      return;
    }
    for (auto it = value.begin(); it != value.end(); ++it) {
      element(type, it.value(), path + "[" + it.key() + "]");
    }
  }
  /// A null may stand for an absent field, but not inside a list or map.
  void element(std::string_view type, Value& value, const std::string& path) {
    if (value.is_null() && type != "any") {
      wrong(path, "a value", value);
      return;
    }
    walk(type, value, path);
  }
  void fields(std::string_view type, Value& value, const std::string& path) {
    const auto entry = table().find(type);
    if (entry == table().end()) {
      return;
    }
    if (!value.is_object()) {
      wrong(path, "an object", value);
      return;
    }
    std::vector<std::string> drop;
    for (auto it = value.begin(); it != value.end(); ++it) {
      const std::string at = path.empty() ? it.key() : path + "." + it.key();
      const auto field = entry->second.find(it.key());
      if (field == entry->second.end() || (kChanges && it.value().is_null())) {
        drop.push_back(it.key());
        if (field == entry->second.end()) {
          unknown(at, it.key(), entry->second);
        }
        continue;
      }
      walk(field->second, it.value(), at);
    }
    if constexpr (kChanges) {
      for (const std::string& key : drop) {
        value.erase(key);
      }
    }
  }
  void unknown(const std::string& path, std::string_view key, const Fields& known) {
    if constexpr (kChanges) {
      return;
    }
    std::vector<std::string_view> words;
    std::string advice;
    for (const auto& [name, type] : known) {
      words.push_back(name);
      const auto inner = table().find(type);
      if (inner != table().end() && name != "metadata" && inner->second.contains(key)) {
        advice = ", it belongs under \"" + name + "\"";
      }
    }
    if (const auto nearest = nearest_word(key, words); nearest && advice.empty()) {
      advice = ", did you mean \"" + *nearest + "\"?";
    }
    problems.push_back({FieldProblem::Type::kUnknown, path, "unknown field" + advice});
  }
};

}  // namespace

bool schema_knows(std::string_view type) { return table().contains(type); }

std::vector<FieldProblem> check_fields(std::string_view type, const Json& object) {
  Walker<const Json> walker;
  walker.walk(type, object, "");
  return std::move(walker.problems);
}

std::optional<FieldProblem> normalise_fields(std::string_view type, Json& object) {
  Walker<Json> walker;
  walker.walk(type, object, "");
  if (walker.problems.empty()) {
    return std::nullopt;
  }
  return std::move(walker.problems.front());
}

std::optional<std::string> nearest_word(std::string_view word, const std::vector<std::string_view>& words) {
  const std::string wanted = lower(word);
  std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;  // farther than this is not the same word
  std::optional<std::string> nearest;
  for (const std::string_view candidate : words) {
    const std::string other = lower(candidate);
    const bool begins = wanted.size() >= 4 && other.starts_with(wanted);
    const std::size_t distance = begins ? 1 : edit_distance(wanted, other);
    if (distance < best) {
      best = distance;
      nearest = std::string(candidate);
    }
  }
  return nearest;
}

std::string_view describe_type(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a bool";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return "a number";
    default:
      return "something else";
  }
}

}  // namespace drydock
