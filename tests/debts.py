# ruff: noqa: E501
"""Breaches of house rules that stand yet; a row is taken away with its breach."""

DEBTS: dict[str, set[str]] = {
    "doubled_classes": {
        "Resources: compose/model/project.py, runtime/spec.py",
    },
    "vague_heads": {
        "compose/__init__.py: no head comment",
        "compose/diagram/layout.py: Where the boxes and wires of a layered drawing are: what is needed above, what needs it below. Pure.",
        "compose/file/__init__.py: no head comment",
        "compose/file/addressing.py: Whether the addresses that a file gives out can be had: pools of networks, and fixed addresses of services. Pure.",
        "compose/file/consistency.py: Whether what a file says fits together: references, exclusions, cycles. Each finding has the place that is to blame.",
        "compose/file/mounting.py: What a service mounts: volumes and tmpfs, configs and secrets, short forms made long. Paths are never looked at.",
        "compose/file/networking.py: What a service says of networks, ports and names of hosts: short forms made long. Pure.",
        "compose/file/paths.py: Which attributes of a compose file hold paths, and a tree of another file with those made absolute. Pure.",
        "compose/file/resources.py: What a service may use: limits, from its own keys and from `deploy` (which must agree), ulimits and devices. Pure.",
        "compose/file/variables.py: Which variables a file asks for, and with which defaults: what `config --variables` lists. Pure.",
        "compose/model/observed.py: What exists on a machine for one project: a frozen snapshot, taken once, from which everything is decided.",
        "compose/plan/graph.py: Who needs whom: the services of a project as a directed graph. The only importer of networkx, and only when asked.",
        "compose/plan/lifecycle.py: What happens next to a container: restart back-off and the health state machine.",
    },
}
