"""What a host runs to try ways to members: python3 where it has it, else bash or nc, which only know TCP."""

from __future__ import annotations

DIAL = r"""
program=$1 limit=$2; shift 2
if command -v python3 >/dev/null 2>&1; then exec python3 -I -c "$program"; fi
while [ "$#" -gt 0 ]; do
    host=$1 port=$2; shift 2
    if command -v bash >/dev/null 2>&1; then
        said=$(timeout "$limit" bash -c 'exec 3<>"/dev/tcp/$1/$2"' sh "$host" "$port" 2>&1); status=$?
    elif command -v nc >/dev/null 2>&1; then
        said=$(timeout "$limit" nc -z -w "$limit" "$host" "$port" </dev/null 2>&1); status=$?
    else
        echo "none"; continue
    fi
    case $status,$said in
        0,*) echo "ok" ;;
        124,* | 143,* | *"timed out"*) echo "timeout" ;;
        *refused*) echo "refused" ;;
        *"not known"* | *resol* | *"bad address"*) echo "name" ;;
        *) echo "unreachable" ;;
    esac
done
"""
"""Arguments: the program for python3, seconds for one way, then a host and a port for each way. What python3 is to try
comes on standard input; the others print one word for each way, in order."""

PROGRAM = r'''
import json, os, socket, ssl, sys, threading, time
asked = json.load(sys.stdin)
limit = asked["limit_s"]

def context(files, verify):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    elif files.get("ca"):
        made.load_verify_locations(files["ca"])
    else:
        made.load_default_certs()
    if files.get("cert"):
        made.load_cert_chain(files["cert"], files["key"])
    return made

def ask(way, tls, path, files, verify):
    """(status, headers, body) of one request; None in place of the status: not HTTP."""
    made = context(files, verify) if tls else None
    raw = socket.create_connection((way["host"], way["port"]), limit)
    with raw:
        raw.settimeout(limit)
        stream = made.wrap_socket(raw, server_hostname=way["host"]) if tls else raw
        way["met"] = tls
        stream.sendall(("GET %s HTTP/1.0\r\nHost: member\r\n\r\n" % path).encode())
        answer, end = b"", time.monotonic() + limit
        while len(answer) < 65536 and time.monotonic() < end:
            chunk = stream.recv(16384)
            answer += chunk
            head, found, body = answer.partition(b"\r\n\r\n")
            size = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if not chunk or (found and size and len(body) >= int(size[0])):
                break
    if not answer:
        raise ConnectionResetError("closed without an answer")
    if not answer.startswith(b"HTTP/"):
        return None, {}, answer
    lines = head.decode("latin-1").split("\r\n")
    headers = dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
    return int(lines[0].split()[1]), headers, body

def speaks(way, tls):
    tried = dict(way, met=False)
    try:
        return ask(tried, tls, "/version", {}, False)[0] is not None
    except ssl.SSLError as error:
        return tried["met"] or "alert" in str(error).lower()
    except OSError:
        return tried["met"]

def dial(way):
    tls, peer, files = way["tls"], way["purpose"] == "peer", way["files"]
    try:
        socket.getaddrinfo(way["host"], way["port"], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return "name", getattr(error, "strerror", None) or str(error)
    try:
        socket.create_connection((way["host"], way["port"]), limit).close()
    except socket.timeout:
        return "timeout", "no answer"
    except ConnectionRefusedError:
        return "refused", "connection refused"
    except ConnectionResetError:
        return "reset", "connection reset"
    except OSError as error:
        return "unreachable", error.strerror or str(error)
    try:
        status, headers, body = ask(way, tls, "/members" if peer else "/version", files, way["verify"])
    except ssl.SSLCertVerificationError as error:
        return "tls", getattr(error, "verify_message", "") or error.reason or str(error)
    except ssl.SSLError as error:
        if not peer and (way.get("met") or "alert" in str(error).lower()):
            return "ok", "it wants a certificate of its clients"
        if speaks(way, False):
            return "tls", "it speaks without TLS, and the URL says https"
        return "tls", (error.reason or str(error)).replace("_", " ").lower()
    except socket.timeout:
        return "timeout", "connected, and no answer to a request"
    except ConnectionResetError as error:
        # With TLS 1.3 who shows no certificate, or a wrong one, learns it after the handshake.
        if way.get("met"):
            return ("tls", "it ends the connection of who shows this certificate") if peer else ("ok", "")
        if not tls and speaks(way, True):
            return "tls", "it speaks TLS, and the URL says http"
        if tls and speaks(way, False):
            return "tls", "it speaks without TLS, and the URL says https"
        return "reset", error.strerror or str(error)
    except FileNotFoundError as error:
        return "unknown", "no such file on this host: %s" % error.filename
    except OSError as error:
        return "unreachable", error.strerror or str(error)
    if status is None:
        http2 = body.startswith(b"\0\0")
        return ("ok", "") if http2 and not peer else ("not etcd", "it answers with something that is no HTTP")
    if not tls and status == 400 and b"HTTPS" in body:
        return "tls", "it speaks TLS, and the URL says http"
    if peer:
        if status != 200 or not body.lstrip().startswith((b"[", b"{")):
            return "not etcd", "HTTP %d to a request for the members: no peer port of etcd" % status
        seen = headers.get("x-etcd-cluster-id", "")
        if seen and way["cluster"] and seen.lstrip("0") != way["cluster"].lstrip("0"):
            return "wrong member", "a member of cluster %s answers there" % seen
        return "ok", ""
    if b"etcdserver" not in body:
        return "not etcd", "HTTP %d to a request for the version: no client port of etcd" % status
    try:
        status, headers, body = ask(way, tls, "/members", files, False)
        if status == 200 and "x-etcd-cluster-id" in headers:
            return "not etcd", "the peer port of a member answers there"
    except OSError:
        pass
    return "ok", ""

def work(number, way):
    began = time.monotonic()
    try:
        outcome, reason = dial(way)
    except Exception as error:
        outcome, reason = "unknown", "%s: %s" % (type(error).__name__, error)
    answers[number] = (outcome, reason, time.monotonic() - began)

answers = {}
threads = [threading.Thread(target=work, args=one, daemon=True) for one in enumerate(asked["ways"])]
for thread in threads:
    thread.start()
end = time.monotonic() + 4 * limit
for thread in threads:
    thread.join(max(0, end - time.monotonic()))
print(json.dumps([answers.get(number, ("timeout", "no answer", None)) for number in range(len(threads))]))
sys.stdout.flush()
os._exit(0)
'''
"""For Python 3.5 and later. Prints a list of (outcome, reason, seconds), in the order of the ways."""
