#!/bin/sh
# A three-host cluster over TLS as people make it by hand: the same work as `etcdops rollout apply`, one ssh after the other.
#
#     rollout_loop.sh SSH-CONFIG USER FOLDER-WITH-ETCD WORK-FOLDER NAME=ADDRESS...
#
# It is what the time of a rollout is compared with: no fewer steps, none made slower than they have to be. With
# SHARED=1 the commands of a host share one connection (OpenSSH's ControlMaster) instead of logging in for each.
set -eu
config=$1 user=$2 programs=$3 work=$4
shift 4
shared=${SHARED:+-o ControlMaster=auto -o ControlPath=$work/%C -o ControlPersist=60}
# shellcheck disable=SC2086  # several options, or none
on() { host=$1; shift; ssh -n $shared -F "$config" "$user@$host" "$@"; }
# shellcheck disable=SC2086
to() { scp -q $shared -F "$config" "$2" "$user@$1:$3"; }

mkdir -p "$work"
cd "$work"
members=
for one; do members="$members${members:+,}${one%%=*}=https://${one#*=}:2380"; done

authority() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -x509 -new -key "$1.key" -days 3650 -subj "/CN=$1" -out "$1.crt"
}
leaf() { # name, authority, common name, names it is for, uses
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$3" -out "$1.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\n' "$4" "$5" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 365 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
authority ca
authority peer-ca
leaf operator ca operator DNS:operator clientAuth
tar -czf etcd.tar.gz -C "$programs" etcd etcdctl

for one; do
    name=${one%%=*} address=${one#*=}
    on "$name" cat /etc/os-release >/dev/null
    on "$name" 'ss -H -ltn | grep -E ":(2379|2380) " && exit 1 || true'
    on "$name" 'test ! -e /var/lib/etcd/member'
    to "$name" etcd.tar.gz /tmp/etcd.tar.gz
    on "$name" sudo sh -c '"mkdir -p /opt/etcd && tar -xzf /tmp/etcd.tar.gz -C /opt/etcd && rm /tmp/etcd.tar.gz"'
    on "$name" sudo ln -sf /opt/etcd/etcd /opt/etcd/etcdctl /usr/local/bin/
    on "$name" sudo useradd --system --user-group --no-create-home --shell /usr/sbin/nologin etcd
    on "$name" sudo install -d -m 700 -o etcd -g etcd /var/lib/etcd /etc/etcd /etc/etcd/pki
    names="DNS:$name,DNS:localhost,IP:$address,IP:127.0.0.1"
    leaf "$name-server" ca "$name" "$names" serverAuth,clientAuth
    leaf "$name-peer" peer-ca "$name" "DNS:$name,IP:$address" serverAuth,clientAuth
    leaf "$name-client" ca "$name-tools" DNS:tools clientAuth
    for file in ca.crt peer-ca.crt; do
        to "$name" "$file" "/tmp/$file"
        on "$name" sudo install -m 644 "/tmp/$file" "/etc/etcd/pki/$file"
    done
    for what in server peer client; do
        for end in crt key; do
            to "$name" "$name-$what.$end" "/tmp/$what.$end"
            on "$name" sudo install -m 600 -o etcd -g etcd "/tmp/$what.$end" "/etc/etcd/pki/$what.$end"
            on "$name" rm -f "/tmp/$what.$end"
        done
    done
    cat >"$name.env" <<END
ETCD_NAME=$name
ETCD_DATA_DIR=/var/lib/etcd
ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:2379
ETCD_ADVERTISE_CLIENT_URLS=https://$address:2379
ETCD_LISTEN_PEER_URLS=https://0.0.0.0:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://$address:2380
ETCD_INITIAL_CLUSTER=$members
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_CERT_FILE=/etc/etcd/pki/server.crt
ETCD_KEY_FILE=/etc/etcd/pki/server.key
ETCD_TRUSTED_CA_FILE=/etc/etcd/pki/ca.crt
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=/etc/etcd/pki/peer.crt
ETCD_PEER_KEY_FILE=/etc/etcd/pki/peer.key
ETCD_PEER_TRUSTED_CA_FILE=/etc/etcd/pki/peer-ca.crt
ETCD_PEER_CLIENT_CERT_AUTH=true
END
    to "$name" "$name.env" /tmp/etcd.env
    on "$name" sudo install -m 644 /tmp/etcd.env /etc/default/etcd
    cat >etcd.service <<END
[Service]
Type=notify
User=etcd
EnvironmentFile=/etc/default/etcd
ExecStart=/usr/local/bin/etcd
Restart=on-failure
LimitNOFILE=65536
[Install]
WantedBy=multi-user.target
END
    to "$name" etcd.service /tmp/etcd.service
    on "$name" sudo install -m 644 /tmp/etcd.service /etc/systemd/system/etcd.service
    on "$name" sudo systemctl daemon-reload
    on "$name" sudo systemctl enable --quiet etcd
    on "$name" sudo systemctl start --no-block etcd
done

deadline=$(($(date +%s) + 120))
for one; do
    [ -z "$shared" ] || ssh -O exit $shared -F "$config" "$user@${one%%=*}" 2>/dev/null
    until curl -sf --max-time 3 --cacert ca.crt --cert operator.crt --key operator.key "https://${one#*=}:2379/health" >/dev/null; do
        [ "$(date +%s)" -lt "$deadline" ] || { echo "${one%%=*} is not healthy" >&2; exit 1; }
        sleep 0.1
    done
done
