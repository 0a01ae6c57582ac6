"""A Ray cluster of several nodes on this machine, on loopback, for as long as its standard input is open.

    python ray_cluster.py --nodes 3

Prints its address on the first line. Each line of input is a command, answered by one line: `remove` ends the last node
as a power cut would, its workers with it, and answers with its number; `processes` answers with the process ids of its
raylets, the head's first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile

# Before Ray is imported: no word to its makers, and nothing that listens beyond this machine.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

from ray.cluster_utils import Cluster

STORE_BYTES = 80 * 2**20
SYSTEM = {
    # A node that is gone counts as gone after two seconds, not after twenty.
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
    # Workers are to send on time, also beside seven other processes.
    "worker_niceness": 0,
}


def main() -> None:
    """Serve until the end of the input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--resource", action="append", default=[], help="custom resource of the last node")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="benchrunner-ray-test-", dir="/tmp")
    size = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, head_node_args={**size, "_system_config": SYSTEM, "temp_dir": directory}
    )
    nodes = []
    for number in range(1, options.nodes):
        resources = dict.fromkeys(options.resource, 1) if number == options.nodes - 1 else {}
        nodes.append(cluster.add_node(False, num_cpus=1, object_store_memory=STORE_BYTES, resources=resources))
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        match line.strip():
            case "remove":
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                print(len(nodes) + 1, flush=True)
            case "processes":
                raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, *nodes)]
                print(*raylets, flush=True)
    cluster.shutdown()
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
