"""The terminal console, `etcdops tui`.

feed.py       what the console needs from a cluster (a port); live.py is that over `etcdops.client`
poller.py     one worker: looks at the cluster, posts what it saw
model/        pure: what was seen -> what a screen says, as lines of text; knows neither Textual nor the network
widgets/      panels that draw such lines; screens/ arrange panels and own what the user chose to see
actions.py    every key, its help and its place in footer and palette, once
app.py        puts it together; `run_tui` is the way in
"""
