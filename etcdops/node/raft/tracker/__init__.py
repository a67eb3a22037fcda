"""What a leader knows about the other members, and who they are."""

from etcdops.node.raft.tracker.config import TrackerConfig
from etcdops.node.raft.tracker.inflights import Inflights
from etcdops.node.raft.tracker.progress import Progress, ProgressState
from etcdops.node.raft.tracker.tracker import ProgressTracker

__all__ = ["Inflights", "Progress", "ProgressState", "ProgressTracker", "TrackerConfig"]
