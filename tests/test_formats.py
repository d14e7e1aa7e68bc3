"""Formats on disk and on sockets: one literal sample of each is what is written, and is read as the same value.

A release reads what the one before it wrote, and a keeper outlives its supervisor: these texts change only on purpose.
"""

from __future__ import annotations

import json
from pathlib import Path

from pycompose.compose.control import protocol
from pycompose.compose.control.protocol import CarryOut
from pycompose.compose.model.codec import from_json, to_json
from pycompose.compose.model.lifetime import Healthcheck
from pycompose.compose.model.observed import OneOff, Supervision
from pycompose.compose.plan.steps import AwaitCondition, Plan, Step, StopContainer
from pycompose.compose.state import event_record
from pycompose.compose.state.event_record import ContainerEvent
from pycompose.compose.state.observe import OWN, Own
from pycompose.network.records import Records
from pycompose.network.spec import Backend, BoundPort, Endpoint, NetworkRecord, PortRecord, Publication
from pycompose.runtime import spec
from pycompose.runtime.keeper import messages
from pycompose.runtime.spec import (
    Bundle,
    Capabilities,
    HostRoot,
    InsideSocket,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Seccomp,
    SeccompRule,
    Spec,
)


def test_supervision() -> None:
    text = (
        '{"kind":"Supervision","stop_requested":true,"health":"healthy","failing_streak":'
        '1,"restarts":2,"restarting":false,"attempts":1,"returning_at":0.0,"probes":[]}'
    )
    value = Supervision(True, "healthy", 1, 2, attempts=1)
    assert to_json(value) == text
    assert from_json(Supervision, text) == value


def test_control_socket() -> None:
    line = (
        b'{"kind":"CarryOut","plan":{"kind":"Plan","project":"p","steps":[{"kind":"Step","'
        b'id":"stop web-1","action":{"kind":"StopContainer","name":"p-web-1","service":"we'
        b'b","signal":"SIGTERM","grace":3,"paused":false},"cause":"changed: \xc3\xbc","after":[]'
        b',"reason":"changed"},{"kind":"Step","id":"await db","action":{"kind":"AwaitCondi'
        b'tion","service":"db","containers":["p-db-1"],"condition":"service_healthy","requ'
        b'ired":true},"cause":"why","after":["stop web-1"],"reason":"asked"}],"warnings":["'
        b'careful"],"timeout":null,"spent":0.0,"running":[]},"generation":"abc","parallel":0,"attached":["web"]}'
    )
    steps = (
        Step("stop web-1", StopContainer("p-web-1", "web", grace=3), "changed: ü", reason="changed"),
        Step("await db", AwaitCondition("db", ("p-db-1",), "service_healthy"), "why", ("stop web-1",)),
    )
    message = CarryOut(Plan("p", steps, ("careful",)), "abc", attached=("web",))
    assert protocol.encode(message) == line + b"\n"
    assert protocol.decode_request(line) == message


def test_events() -> None:
    text = (
        '{"kind":"ContainerEvent","number":1,"time":2,"action":"die","id":"abc","attribut'
        'es":{"name":"p-web-1","exitCode":"0"}}'
    )
    event = ContainerEvent(1, 2, "die", "abc", {"name": "p-web-1", "exitCode": "0"})
    assert to_json(event) == text
    assert list(event_record.parse(text.encode())) == [event]


HEALTH = Healthcheck(("CMD", "true"), 1.0, disable=True)
OWN_VALUE = Own(
    "gen", "alpine", ("sleep", "1"), {"image": "x"}, ("on-failure", 3), ("p_default",), {"/data": "v"}, ("anon",),
    (("db", "service_healthy", True),), 10.0, "SIGINT", HEALTH, {"network": "other"}, 5.0, volume_donors=("giver",),
    mounted_images={"/i": "digest"}, hook=1, restart_unhealthy=True, unlogged=True, exposed=("80/tcp",),
    one_off=OneOff("id", True),
)  # fmt: skip


def test_annotation_of_a_container() -> None:
    text = (
        '{"generation":"gen","image":"alpine","command":["sleep","1"],"hash_parts":{"imag'
        'e":"x"},"restart":["on-failure",3],"networks":["p_default"],"volumes":{"/data":"'
        'v"},"anonymous":["anon"],"depends_on":[["db","service_healthy",true]],"grace":10'
        '.0,"signal":"SIGINT","healthcheck":{"test":["CMD","true"],"interval":1.0,"timeou'
        't":null,"retries":null,"start_period":null,"start_interval":null,"disable":true,'
        '"extensions":""},"shared":{"network":"other"},"restart_delay":5.0,"restart_window":n'
        'ull,"volume_donors":["giver"],"mounted_images":{"/i":"digest"},"hook":1,"restart_unhealthy":true,"unlogged":true,"exposed":["80/tcp"],"o'
        'ne_off":{"id":"id","auto_remove":true,"use_aliases":false}}'
    )
    assert OWN_VALUE.text() == text
    read = Own.of({OWN: text})
    assert read == OWN_VALUE


def test_bundle() -> None:
    text = (
        '{"spec":{"process":{"args":["sh","-c","\\u00fc"],"env":[],"cwd":"/","user":{"uid"'
        ':0,"gid":0,"umask":null,"additionalGids":[],"username":"","groupAdd":[]},"termin'
        'al":false,"capabilities":{"bounding":["CAP_A"],"effective":[],"permitted":[],"in'
        'heritable":[],"ambient":[]},"rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2'
        '}],"noNewPrivileges":false,"oomScoreAdj":null,"apparmorProfile":""},"rootReadonl'
        'y":false,"hostname":"","domainname":"","mounts":[{"destination":"/proc","type":"'
        'proc","source":"","options":[]}],"linux":{"namespaces":[{"type":"pid","path":""}'
        '],"devices":[],"cgroupsPath":"","resources":{"devices":[],"memory":{"limit":null'
        ',"swap":null,"reservation":null,"swappiness":null,"disableOomKiller":false},"cpu'
        '":{"shares":null,"quota":null,"period":null,"realtimeRuntime":null,"realtimePeri'
        'od":null,"cpus":"","mems":""},"pidsLimit":5,"blockIO":{"weight":null,"weightDevi'
        'ce":[],"throttleReadBpsDevice":[],"throttleWriteBpsDevice":[],"throttleReadIopsD'
        'evice":[],"throttleWriteIopsDevice":[]}},"seccomp":{"defaultAction":"SCMP_ACT_ER'
        'RNO","defaultErrnoRet":1,"architectures":[],"syscalls":[{"names":["read"],"actio'
        'n":"SCMP_ACT_ALLOW","errnoRet":null,"args":[]}]},"sysctl":{"net.a":"1"},"maskedP'
        'aths":[],"readonlyPaths":[],"rootfsPropagation":"rprivate"},"annotations":{"some'
        '_key":"1"},"ociVersion":"1.2.0"},"root":{"store":"/store","lower":["/init"],"hid'
        'den":[],"layers":[],"shown":[],"kind":"host"},"sockets":[{"kind":"udp","host":"127.0.0.11",'
        '"port":0}],"init":false,"stdinOpen":false,"logMaxSize":0,"logMaxFiles":1,"shared'
        '":{"ipc":"x"}}'
    )
    process = Process(
        ("sh", "-c", "ü"), rlimits=(Rlimit("RLIMIT_NOFILE", 1, 2),), capabilities=Capabilities(("CAP_A",))
    )
    linux = Linux(
        (Namespace("pid"),),
        resources=Resources(pids_limit=5),
        seccomp=Seccomp("SCMP_ACT_ERRNO", 1, syscalls=(SeccompRule(("read",), "SCMP_ACT_ALLOW"),)),
        sysctl={"net.a": "1"},
    )
    bundle = Bundle(
        Spec(process, mounts=(Mount("/proc", "proc"),), linux=linux, annotations={"some_key": "1"}),
        HostRoot("/store", ("/init",)),
        (InsideSocket("udp", "127.0.0.11", 0),),
        shared={"ipc": "x"},
    )
    assert json.loads(spec.to_json(bundle)) == json.loads(text)  # the order of keys has no meaning
    assert spec.from_json(Bundle, text) == bundle
    assert spec.from_json(Bundle, text.replace('"shown":[],', "")) == bundle  # as it was written before there was any


def test_network_lease_and_port(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    gateways = ("10.0.0.1", "fd00::1")
    network = NetworkRecord("n", "p", "br-1", ("10.0.0.0/24",), gateways, False, 1500, {"ü": "b"}, 5.0, "boot")
    lease = Endpoint("n", "owner", "eth0", ("10.0.0.2/24",), "02:42:0a:00:00:02", None, ("web",))
    bound = BoundPort(Publication("p/web", None, 8080, 8080, "tcp", 80), "0.0.0.0", 8080)
    port = PortRecord(bound, "p", "boot", (Backend("owner", "10.0.0.2"),))
    records.keep_network(network)
    records.keep_lease(lease)
    records.keep_port(port)
    texts = {
        "n/network.json": (
            '{"name": "n", "project": "p", "bridge": "br-1", "subnets": ["10.0.0.0/24"], "gat'
            'eways": ["10.0.0.1", "fd00::1"], "internal": false, "mtu": 1500, "labels": {"\\u0'
            '0fc": "b"}, "created": 5.0, "boot_id": "boot", "masquerade": true, "reserved": ['
            '], "ip_range": null}'
        ),
        "n/leases/10.0.0.2": (
            '{"network": "n", "owner": "owner", "interface": "eth0", "addresses": ["10.0.0.2/'
            '24"], "mac_address": "02:42:0a:00:00:02", "gateway": null, "names": ["web"], "pr'
            'oject": "", "link": "", "trusted": false}'
        ),
        ".published/tcp-8080-0.0.0.0.json": (
            '{"published": {"publication": {"group": "p/web", "host_ip": null, "first": 8080,'
            ' "last": 8080, "protocol": "tcp", "target": 80}, "host_ip": "0.0.0.0", "port": 8'
            '080}, "project": "p", "boot_id": "boot", "backends": [{"owner": "owner", "addres'
            's": "10.0.0.2"}]}'
        ),
    }
    assert {name: (tmp_path / name).read_text() for name in texts} == texts
    assert (records.network("n"), records.leases("n"), records.ports()) == (network, [lease], [port])


def test_keeper_socket() -> None:
    data = (
        b'{"is": "Exec", "id": "abc", "process": {"args": ["true"]}, "streams": "captured", "privileged": false, '
        b'"bound": true, "rows": 0, "columns": 0}'
    )
    process = json.loads(spec.to_json(Process(("true",))))["args"]
    message = messages.Exec("abc", {"args": process}, bound=True)
    assert messages.encode(message) == data
    assert messages.decode(data) == message
