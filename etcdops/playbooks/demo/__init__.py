"""The main job told as a story: a cluster is filled, saved, broken twice and brought back, each claim checked."""
