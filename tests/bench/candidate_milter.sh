#!/bin/sh
# Starts Postfix with the gateway as its milter for a side-by-side benchmark:
#   candidate_milter.sh LISTEN_PORT NEXT_HOP_PORT [inet|none|rspamd]
# Postfix is the one of the other candidates (same main.cf, own queue) and asks the gateway on its unix socket ("inet": on TCP at
# LISTEN_PORT + 40; "none": Postfix alone, the same config without a milter; "rspamd": Debian's rspamd in the gateway's place, on a unix
# socket, with two rules that read the text and refuse what goes out of government, nothing else). Full inspection, the durable
# commit, two door processes; what the gateway doctor reads of this Postfix is told to the gateway first, so that marked mail may go on.
# Needs root and Postfix.
set -e
here=$(cd "$(dirname "$0")/../.." && pwd)
state=${GATEWAY_BENCH_DIR:-/tmp/gateway-bench}-milter-$1
pf=$state/postfix
rm -rf "$state" && mkdir -p "$pf/spool" "$pf/data" "$state/socket"
chmod 755 "$state" "$pf" && chown postfix "$pf/data" && chown root:postfix "$state/socket" && chmod 2750 "$state/socket"
milter=unix:$state/socket/milter.sock
[ "$3" = inet ] && milter=127.0.0.1:$(($1 + 40))
asks=""
case ${3:-unix} in
  rspamd) milter=unix:$state/rspamd/milter.sock
    asks="smtpd_milters = $milter" ;;
  inet) asks="smtpd_milters = inet:$milter
non_smtpd_milters = inet:$milter" ;;
  unix) asks="smtpd_milters = $milter
non_smtpd_milters = $milter" ;;
esac
cat > "$pf/main.cf" <<CONFIG
compatibility_level = 3.6
queue_directory = $pf/spool
data_directory = $pf/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = $pf/mail.log
maillog_file_prefixes = $state
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.dept.gov.in
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$2
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
message_size_limit = 40000000
in_flow_delay = 0
alias_maps =
smtpd_sasl_auth_enable = no
milter_default_action = tempfail
$asks
CONFIG
{
  echo "cleanup unix n - n - 0 cleanup"
  echo "qmgr unix n - n 300 1 qmgr"
  echo "tlsmgr unix - - n 1000? 1 tlsmgr"
  echo "rewrite unix - - n - - trivial-rewrite"
  for name in bounce defer trace; do echo "$name unix - - n - 0 bounce"; done
  echo "verify unix - - n - 1 verify"
  echo "proxymap unix - - n - - proxymap"
  for name in smtp relay; do echo "$name unix - - n - - smtp"; done
  for name in error retry; do echo "$name unix - - n - - error"; done
  echo "discard unix - - n - - discard"
  echo "anvil unix - - n - 1 anvil"
  echo "scache unix - - n - 1 scache"
  echo "postlog unix-dgram n - n - 1 postlogd"
} > "$pf/master.cf"
if [ "$3" = rspamd ]; then
  rs=$state/rspamd
  mkdir -p "$rs" && chown _rspamd:postfix "$rs" && chmod 2750 "$rs"
  cat > "$rs/rspamd.conf" <<CONFIG
options { pidfile = "$rs/pid"; filters = ""; raw_mode = false; dns { nameserver = ["127.0.0.1:9"]; timeout = 1s; }
  dynamic_conf = "$rs/dyn"; history_file = "$rs/hist"; rrd = "$rs/rrd"; stats_file = "$rs/stats.ucl"; cache_file = "$rs/sym.cache";
  hs_cache_dir = "$rs/"; control_socket = "$rs/c.sock mode=0600"; tempdir = "$rs"; max_message = 50mb; explicit_modules = [];
  url_tld = "/usr/share/rspamd/effective_tld_names.dat"; }
logging { type = "file"; filename = "$rs/log"; level = "info"; }
actions { reject = 15; add_header = 6; }
lua = "$rs/rules.lua";
worker "rspamd_proxy" { bind_socket = "$rs/milter.sock mode=0666"; milter = yes; count = 2; timeout = 60s;
  upstream "local" { default = yes; self_scan = yes; } }
CONFIG
  cat > "$rs/rules.lua" <<'CONFIG'
local re = require "rspamd_regexp"
local gov = re.create('/(^|\\.)(gov|nic)\\.in$/i')
local mark = re.create('/\\b(SECRET|CONFIDENTIAL)\\b/')
rspamd_config:register_symbol{ name = 'GOV_OUT', type = 'prefilter', callback = function(task)
  local f = task:get_from('smtp')
  if f and f[1] and gov:match(f[1].domain) then
    for _, r in ipairs(task:get_recipients('smtp') or {}) do
      if not gov:match(r.domain) then task:set_pre_result('reject', 'official mail to a non-government domain', 'gov'); return end
    end
  end
end }
rspamd_config:register_symbol{ name = 'MARKING', type = 'normal', score = 0, callback = function(task)
  local hit = mark:match(task:get_subject() or '')
  for _, p in ipairs(task:get_text_parts() or {}) do
    if hit then break end
    hit = mark:match(p:get_content())
  end
  if hit then
    task:set_milter_reply{ add_headers = { ['X-Classification'] = 'CONFIDENTIAL' } }
    return true
  end
end }
CONFIG
fi
cat > "$state/gateway.toml" <<CONFIG
hostname = "gw.dept.gov.in"
state_dir = "$state/state"
workers = 2
[contacts]
postmaster = "postmaster@dept.gov.in"
[[listen]]
door = "milter"
address = "$milter"
[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:$2"
tls = "none"
[limits]
ocr_seconds = 0
free_disk = 0
CONFIG

ours=""
stop() {
  trap "" TERM INT
  for pid in $ours; do kill "$pid" 2>/dev/null || true; done
  for pid in $ours; do wait "$pid" 2>/dev/null || true; done
  exit 0
}
trap stop TERM INT
gateway() { PATH=$PATH:/usr/sbin MAIL_CONFIG=$pf "$here/.venv/bin/python" -m gateway "$@" --config "$state/gateway.toml"; }
MAIL_CONFIG=$pf postfix check 2>/dev/null || true

if [ "$3" = rspamd ]; then
  rspamd -f -u _rspamd -g _rspamd -c "$state/rspamd/rspamd.conf" > "$state/rspamd.out" 2>&1 &
  ours=$!
  for _ in $(seq 1 120); do
    kill -0 "$ours" 2>/dev/null || { tail -5 "$state/rspamd.out" >&2; exit 1; }
    [ -S "${milter#unix:}" ] && break
    sleep 0.5
  done
elif [ "$3" != none ]; then
  cd "$here"
  "$here/.venv/bin/python" -m gateway run --config "$state/gateway.toml" > "$state/gateway.log" 2>&1 &
  ours=$!
  # The keeper answers before the doors take connections; the doctor's word must be there before the first message.
  for _ in $(seq 1 240); do
    kill -0 "$ours" 2>/dev/null || { tail -5 "$state/gateway.log" >&2; exit 1; }
    case $milter in unix:*) [ -S "${milter#unix:}" ] && break ;; *) grep -q '"doors' "$state/gateway.log" && break ;; esac
    sleep 0.5
  done
fi
# Postfix runs without a listener until the doctor has looked at it: it says nothing of a Postfix that does not run.
/usr/lib/postfix/sbin/master -c "$pf" -d &
postfix=$!
ours="$ours $postfix"
sleep 1  # a master that has no handler yet would end by the signal below
if [ "$3" != none ] && [ "$3" != rspamd ]; then
  gateway doctor --offline > "$state/doctor.log" 2>&1 || true
fi
echo "127.0.0.1:$1 inet n - n - - smtpd" >> "$pf/master.cf"
kill -HUP "$postfix"
wait
