# SPDX-License-Identifier: Apache-2.0
"""A small client of the Kubernetes API for tests: JSON in, JSON out, from inside another network namespace."""
import ctypes
import http.client
import json
import socket
import ssl
import threading
import urllib.parse

CLONE_NEWNET = 0x40000000
CORE = "v1"
RESOURCE = "resource.k8s.io/v1"
# kind -> apiVersion, name in paths, in a namespace or not
KINDS = {
    "Namespace": (CORE, "namespaces", False),
    "Node": (CORE, "nodes", False),
    "Pod": (CORE, "pods", True),
    "Event": (CORE, "events", True),
    "Secret": (CORE, "secrets", True),
    "ConfigMap": (CORE, "configmaps", True),
    "ServiceAccount": (CORE, "serviceaccounts", True),
    "DaemonSet": ("apps/v1", "daemonsets", True),
    "Deployment": ("apps/v1", "deployments", True),
    "ReplicaSet": ("apps/v1", "replicasets", True),
    "ControllerRevision": ("apps/v1", "controllerrevisions", True),
    "Job": ("batch/v1", "jobs", True),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "ValidatingAdmissionPolicy": ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", False),
    "DeviceClass": (RESOURCE, "deviceclasses", False),
    "ResourceSlice": (RESOURCE, "resourceslices", False),
    "ResourceClaim": (RESOURCE, "resourceclaims", True),
    "ResourceClaimTemplate": (RESOURCE, "resourceclaimtemplates", True),
}


class ApiError(Exception):
    def __init__(self, method, path, status, body):
        self.status = status
        self.message = body.get("message", str(body)) if isinstance(body, dict) else str(body)
        super().__init__(f"{method} {path}: {status} {self.message}")


def socket_in(network_namespace, address, timeout):
    """A connected TCP socket of the network namespace at that path. setns(2) counts for one thread only, so one is spent on it."""
    result = []

    def connect():
        try:
            with open(network_namespace, "rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns " + network_namespace)
            result.append(socket.create_connection(address, timeout))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


class _Connection(http.client.HTTPSConnection):
    def __init__(self, network_namespace, host, port, context, timeout):
        super().__init__(host, port, context=context, timeout=timeout)
        self._network_namespace, self._tls = network_namespace, context

    def connect(self):
        plain = socket_in(self._network_namespace, (self.host, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def path_of(kind, name=None, namespace=None, subresource=None):
    version, plural, namespaced = KINDS[kind]
    path = f"/api/{version}" if version == CORE else f"/apis/{version}"
    if namespaced and namespace:
        path += f"/namespaces/{namespace}"
    path += "/" + plural
    if name:
        path += "/" + name
    if subresource:
        path += "/" + subresource
    return path


class Api:
    """`token` speaks as a service account; else the client certificate counts."""

    def __init__(self, network_namespace, host, port, ca, certificate=None, key=None, token=None):
        self._where = (network_namespace, host, port)
        self._token = token
        self._ca = ca
        self._tls = ssl.create_default_context(cafile=ca)
        if certificate:
            self._tls.load_cert_chain(certificate, key)

    def with_token(self, token):
        return Api(*self._where, self._ca, token=token)

    def call(self, method, path, body=None, content_type="application/json", timeout=20):
        """Status and decoded body, whatever the status."""
        connection = _Connection(*self._where, self._tls, timeout)
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if self._token:
            headers["Authorization"] = "Bearer " + self._token
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text.decode(errors="replace")

    def must(self, method, path, body=None, **more):
        status, answer = self.call(method, path, body, **more)
        if status >= 300:
            raise ApiError(method, path, status, answer)
        return answer

    def get(self, kind, name, namespace=None):
        """The object, or None when there is no such."""
        path = path_of(kind, name, namespace)
        status, answer = self.call("GET", path)
        if status == 404:
            return None
        if status >= 300:
            raise ApiError("GET", path, status, answer)
        return answer

    def list(self, kind, namespace=None, **selectors):
        """list("Pod", "ns", labelSelector="app=x")"""
        query = "?" + urllib.parse.urlencode(selectors) if selectors else ""
        return self.must("GET", path_of(kind, namespace=namespace) + query)["items"]

    def create(self, body, namespace=None):
        body = {"apiVersion": KINDS[body["kind"]][0], **body}
        return self.must("POST", path_of(body["kind"], namespace=body["metadata"].get("namespace", namespace)), body)

    def apply(self, body, namespace=None, manager="tests"):
        """Server-side apply."""
        body = {"apiVersion": KINDS[body["kind"]][0], **body}
        meta = body["metadata"]
        path = path_of(body["kind"], meta["name"], meta.get("namespace", namespace))
        return self.must("PATCH", f"{path}?fieldManager={manager}&force=true", body, content_type="application/apply-patch+yaml")

    def patch(self, kind, name, namespace, body, subresource=None):
        return self.must("PATCH", path_of(kind, name, namespace, subresource), body, content_type="application/strategic-merge-patch+json"
                         if KINDS[kind][0] != RESOURCE else "application/merge-patch+json")

    def delete(self, kind, name, namespace=None, grace=None):
        """True when it was there."""
        path = path_of(kind, name, namespace)
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        status, answer = self.call("DELETE", path, options)
        if status >= 300 and status != 404:
            raise ApiError("DELETE", path, status, answer)
        return status != 404

    def token_for(self, namespace, account, pod=None, node=None):
        """A service account's token bound to an object: Api().token_for("ns", "sa", pod=<the pod>)."""
        spec = {}
        bound = pod or node
        if bound:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod" if pod else "Node", "name": bound["metadata"]["name"],
                                      "uid": bound["metadata"]["uid"]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.must("POST", path_of("ServiceAccount", account, namespace, "token"), request)["status"]["token"]
