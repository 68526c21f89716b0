"""A test bed for the runner on Kubernetes: a real control plane on loopback, with stand-ins for operator and kubelet.

    python tests/kubernetes COMMAND ...   runs the command with KUBECONFIG
    python tests/kubernetes               prints the path of a kubeconfig, and ends with its standard input

Real are etcd, the API server, the controller manager and the scheduler (`programs.py` finds or builds them). Stand-ins
are the Spark operator (`operator_standin.py`), which is on no package registry, and the kubelet (`node_standin.py`),
which needs a container runtime and rights that a CI machine may not give: each container is a process of this machine.
Where a stand-in and the original differ, the stand-in is wrong. Only the standard library is needed.
"""
