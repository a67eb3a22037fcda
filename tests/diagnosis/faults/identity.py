"""Who belongs to which cluster: members that are strangers, copies, removed or lost."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

from tests.diagnosis.faults.clients import APP, run_app
from tests.diagnosis.faults.cluster import DATA, FaultCluster, Member, initial_cluster, wait_until
from tests.diagnosis.faults.fault import Fault


def stray_member_of_an_old_cluster(cluster: FaultCluster) -> None:
    """h3 comes back with the data of the cluster that ran here before."""
    odd = cluster["h3"]
    odd.stop()
    odd.wipe()
    odd.configure(initial_cluster_token="the-old-one")
    odd.start()


def cloned_data_dir(cluster: FaultCluster) -> None:
    """h3 is made of a copy of h2's machine: data and settings, with h3's own addresses to listen on."""
    origin, copy = cluster["h2"], cluster["h3"]
    copy.stop()
    origin.kill()
    _copy_data(origin, copy)
    origin.start()
    copy.configure(name=origin.name)
    copy.start()


def swapped_data_dirs(cluster: FaultCluster) -> None:
    """The disks of h2 and h3 were exchanged."""
    one, other = cluster["h2"], cluster["h3"]
    for member in (one, other):
        member.kill()
    held = one.host.path("var/lib/held")
    one.run(f"cp -a {DATA} /var/lib/held")
    _copy_data(other, one)
    _put_data(held, other)
    one.run("rm -rf /var/lib/held")
    for member in (one, other):
        member.start()


def removed_member_restarted(cluster: FaultCluster) -> None:
    """Its host was down when it was removed."""
    gone = cluster["h3"]
    gone.stop()
    cluster["h1"].ctl("member", "remove", cluster.ids()["h3"])
    gone.start()


def removed_member_with_a_backup(cluster: FaultCluster) -> None:
    """h3 was removed while it could not hear of it, and dials the others."""
    gone = cluster["h3"]
    identity = cluster.ids()["h3"]
    gone.stop()
    cluster["h1"].ctl("member", "remove", identity)
    gone.start()


def bootstrapped_twice(cluster: FaultCluster) -> None:
    """The data of h3 is lost, and it is started as on the first day."""
    lost = cluster["h3"]
    lost.kill()
    lost.wipe()
    lost.start()


def member_list_too_short(cluster: FaultCluster) -> None:
    """h3 joins with an initial-cluster that leaves out h2."""
    _join(cluster, [cluster["h1"], cluster["h3"]])


def other_peer_url_than_listed(cluster: FaultCluster) -> None:
    """h3 joins with a peer URL of h2 that nobody knows."""
    joining = cluster["h3"]
    joining.kill()
    joining.wipe()
    wrong = initial_cluster(cluster.members).replace(f"{cluster['h2'].address}:2380", f"{cluster['h2'].address}:2390")
    joining.configure(initial_cluster=wrong, initial_cluster_state="existing")
    joining.start()


def advertised_other_than_listed(cluster: FaultCluster) -> None:
    """h3's own URL differs between two settings."""
    wrong = cluster["h3"]
    wrong.kill()
    wrong.wipe()
    wrong.configure(initial_advertise_peer_urls=f"http://{wrong.address}:2390")
    wrong.start()


def name_not_listed(cluster: FaultCluster) -> None:
    """h3 calls itself otherwise than the list of members."""
    wrong = cluster["h3"]
    wrong.kill()
    wrong.wipe()
    wrong.configure(name="h33")
    wrong.start()


def join_while_all_are_down(cluster: FaultCluster) -> None:
    """h3 shall join, and nobody answers."""
    joining = cluster["h3"]
    for member in cluster:
        member.stop()
    joining.wipe()
    joining.configure(initial_cluster_state="existing")
    joining.start()


def force_new_cluster_stays(cluster: FaultCluster) -> None:
    """The flag of the recovery is still there at the next start."""
    for member in cluster:
        member.stop()
    survivor = cluster["h1"]
    survivor.configure(force_new_cluster="true")
    survivor.start(wait=True)
    survivor.stop()
    survivor.start(wait=True)


def added_and_never_started(cluster: FaultCluster) -> None:
    """A cluster of one gets a second member that nobody starts, and then shall get a third."""
    for member in cluster:
        member.kill()
    first = cluster["h1"]
    first.wipe()
    first.configure(initial_cluster=initial_cluster([first]), initial_cluster_token="of-one")
    first.start(wait=True)
    for number in range(2):
        url = f"http://{first.address}:{9380 + number}"
        first.ctl("member", "add", f"n{number}", f"--peer-urls={url}", check=False)


def added_while_one_is_down(cluster: FaultCluster) -> None:
    """A replacement is added before the dead member is removed."""
    _added(cluster, "n3", 9390)
    cluster["h1"].ctl("member", "remove", cluster.ids()[""])
    cluster["h3"].stop()
    cluster["h1"].ctl("member", "add", "n4", f"--peer-urls=http://{cluster['h1'].address}:9380", check=False)


def learner_promoted_too_early(cluster: FaultCluster) -> None:
    """h3 comes back as a learner, hangs, and is promoted while the others went on."""
    learner = cluster["h3"]
    learner.kill()
    learner.wipe()
    cluster.replace(learner, learner.peer_url, "--learner")
    learner.configure(initial_cluster_state="existing")
    learner.start()
    wait_until(lambda: "h3" in cluster.ids_of(cluster.members[:2]), "the learner is there")
    learner.signal("SIGSTOP")
    cluster.later(partial(learner.signal, "SIGCONT"))
    for number in range(20):
        cluster["h1"].ctl("put", f"k{number}", "v")
    identity = cluster.ids_of(cluster.members[:2])["h3"]
    run_app(cluster, f"sleep 1; etcdctl member promote {identity}")


def two_learners(cluster: FaultCluster) -> None:
    """The limit is one, and only who asks for the second is told."""
    _added(cluster, "n4", 9380, "--learner")
    url = f"http://{cluster['h1'].address}:9390"
    run_app(cluster, f"sleep 1; etcdctl member add n5 --learner --peer-urls={url}")


def loopback_is_advertised(cluster: FaultCluster) -> None:
    """h3 joins with an address that means everybody himself."""
    joining = cluster["h3"]
    joining.kill()
    joining.wipe()
    local = "http://127.0.0.1:2380"
    cluster.replace(joining, local)
    cluster.mark()
    joining.configure(
        initial_cluster=f"{initial_cluster([cluster['h1'], cluster['h2']])},h3={local}",
        initial_cluster_state="existing",
        initial_advertise_peer_urls=local,
        listen_peer_urls="http://0.0.0.0:2380",
    )
    joining.start()


def _added(cluster: FaultCluster, name: str, port: int, *options: str) -> str:
    """Add a member; etcd wants all others to have been connected for five seconds. Returns: its ID."""
    add = ("member", "add", name, *options, f"--peer-urls=http://{cluster['h1'].address}:{port}")
    answer: list[str] = []

    def done() -> bool:
        ran = cluster["h1"].ctl(*add, check=False)
        answer[:] = ran.stdout.split()
        return ran.status == 0

    wait_until(done, "a member is added")
    cluster.mark()
    return answer[1]


def _join(cluster: FaultCluster, known: list[Member]) -> None:
    joining = cluster["h3"]
    joining.kill()
    joining.wipe()
    joining.configure(initial_cluster=initial_cluster(known), initial_cluster_state="existing")
    joining.start()


def _copy_data(source: Member, target: Member) -> None:
    _put_data(source.host.path(DATA), target)


def _put_data(folder: Path, target: Member) -> None:
    target.wipe()
    subprocess.run(["cp", "-a", f"{folder}/.", str(target.host.path(DATA))], check=True)
    target.run(f"chown -R etcd:etcd {DATA}")


FAULTS = (
    Fault(
        "cluster-id-mismatch", stray_member_of_an_old_cluster, spares_data=False, quick=("etcd-3.5",), live="E401 h3"
    ),
    Fault("duplicate-cloned-member", cloned_data_dir, acceptable=(), spares_data=False, live="E402 h3"),
    Fault("member-id-mismatch", swapped_data_dirs, spares_data=False),
    Fault("member-removed", removed_member_restarted, spares_data=False, live="E403 h3"),
    Fault("removed-peer-dialing", removed_member_with_a_backup, logs=("h1", "h2"), spares_data=False),
    Fault("already-bootstrapped", bootstrapped_twice, spares_data=False),
    Fault("member-count-unequal", member_list_too_short, spares_data=False),
    Fault("peer-urls-unmatched", other_peer_url_than_listed, spares_data=False),
    Fault("initial-cluster-mismatch", advertised_other_than_listed, spares_data=False),
    Fault("name-not-in-initial-cluster", name_not_listed, spares_data=False),
    Fault("join-cluster-unreachable", join_while_all_are_down, spares_data=False),
    Fault("force-new-cluster-left-on", force_new_cluster_stays, spares_data=False),
    Fault("reconfig-not-enough-started", added_and_never_started, spares_data=False),
    Fault("reconfig-unhealthy", added_while_one_is_down, acceptable=("peer-connection-refused",), spares_data=False),
    Fault("learner-not-ready", learner_promoted_too_early, unit=APP, logs=("h1",), spares_data=False),
    Fault("too-many-learners", two_learners, unit=APP, logs=("h1",), spares_data=False),
    Fault("advertise-loopback", loopback_is_advertised, spares_data=False),
)
