#!/bin/bash
# Whether a node answers: healthy client PORT (PostgreSQL's port of `start` and `coordinator`), healthy node PORT (calls between nodes).
set -u
kind=$1
port=$2

# A node may listen before it serves, so that a connection alone says nothing: it must speak.
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
case $kind in
client)
    # SSLRequest: 8 bytes long, code 80877103. The answer is one letter.
    printf '\x00\x00\x00\x08\x04\xd2\x16\x2f' >&3
    IFS= read -r -t 2 -n 1 -u 3 answer
    [ "$answer" = N ] || [ "$answer" = S ]
    ;;
node)
    # HTTP/2's preface and an empty SETTINGS frame. The answer is a SETTINGS frame (type 4): its fourth byte.
    printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00' >&3
    answer=$(timeout 2 head -c 4 <&3 | od -An -tx1 -j3 | tr -d ' ')
    [ "$answer" = 04 ]
    ;;
*)
    echo "usage: healthy client|node PORT" >&2
    exit 2
    ;;
esac
