#!/usr/bin/env bash
# Tells deploywatch of a release and asks its gate, with what a GitHub runner has: bash, curl and jq.
# Ends as `deploywatch gate` does: 0 go, 1 stop, 2 usage, 3 inconclusive, 4 still verifying, 5 superseded,
# cancelled or unknown, 6 the server cannot be reached, 7 the token was refused.
set -euo pipefail

readonly command=${DEPLOYWATCH_COMMAND:-} base=${DEPLOYWATCH_URL:-} environment=${DEPLOYWATCH_ENVIRONMENT:-}
readonly kind=${DEPLOYWATCH_KIND:-normal} commit=${GITHUB_SHA:-}
readonly version=${DEPLOYWATCH_VERSION:-${commit:0:12}}
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

# A workflow command ends at a newline; jq's @text knows nothing of that.
escape() { local text=${1//'%'/%25}; text=${text//$'\r'/%0D}; printf '%s' "${text//$'\n'/%0A}"; }
fail() { # EXIT_CODE TITLE TEXT
  printf '::error title=%s::%s\n' "$2" "$(escape "$3")"
  exit "$1"
}

[ -n "$base" ] || fail 2 deploywatch "give \`url\`, the address of the server"
[ -n "$version" ] || fail 2 deploywatch "give \`version\`; there is no GITHUB_SHA to take it from"

# Sends a request and leaves its answer in $work/body; prints the status, 000 where there was none. The token
# goes by a file, since arguments can be read by every process of the machine.
request() { # METHOD PATH SECONDS [CURL_ARGUMENTS…]
  local method=$1 path=$2 seconds=$3
  shift 3
  printf 'user-agent: deploywatch-action\n' >"$work/headers"
  [ -z "${DEPLOYWATCH_TOKEN:-}" ] || printf 'authorization: Bearer %s\n' "$DEPLOYWATCH_TOKEN" >>"$work/headers"
  : >"$work/body"
  curl --silent --show-error --max-time "$seconds" --connect-timeout 10 --request "$method" \
    --header @"$work/headers" --output "$work/body" --write-out '%{http_code}' "$@" "${base%/}/$path" \
    2>"$work/error" || true
}

output() { # NAME VALUE; the value is one line
  [ -z "${GITHUB_OUTPUT:-}" ] || printf '%s=%s\n' "$1" "${2//$'\n'/ }" >>"$GITHUB_OUTPUT"
}

field() { jq -r "$1 // \"\"" "$work/body" 2>/dev/null || true; }

# What went wrong with a request, as an exit code and a sentence.
refuse() { # STATUS
  local detail
  detail=$(field .detail)
  case $1 in
    000) fail 6 "deploywatch cannot be reached" "$base cannot be reached: $(tail -n 1 "$work/error")" ;;
    401 | 403) fail 7 "deploywatch refused the token" "${detail:-status $1}" ;;
    404) fail 5 "deploywatch does not know it" "${detail:-there is nothing at $base}" ;;
    5*) fail 6 "deploywatch did not answer" "${detail:-status $1}" ;;
    *) fail 2 "deploywatch refused the request" "${detail:-status $1}" ;;
  esac
}

# Once more after a pause where the server was away, as in its own upgrade.
persist() { # METHOD PATH SECONDS [CURL_ARGUMENTS…]
  local try status
  for try in 1 2 3 4 5; do
    status=$(request "$@")
    case $status in 000 | 502 | 503 | 504) [ "$try" = 5 ] || sleep "${DEPLOYWATCH_PAUSE:-$((try * 2))}" ;; *) break ;; esac
  done
  printf '%s' "$status"
}

announce() { # PATH WORDS
  local status run=""
  [ -z "${GITHUB_RUN_ID:-}" ] || run="${GITHUB_SERVER_URL:-}/${GITHUB_REPOSITORY:-}/actions/runs/$GITHUB_RUN_ID"
  jq -n --arg environment "$environment" --arg version "$version" --arg commit "$commit" --arg kind "$kind" \
    --arg actor "${GITHUB_ACTOR:-}" --arg link "$run" \
    '{$environment, $version, $commit, $kind, $actor, $link} | with_entries(select(.value != ""))' >"$work/request"
  status=$(persist POST "$1" 300 --header 'content-type: application/json' --data @"$work/request")
  case $status in 2*) ;; *) refuse "$status" ;; esac
  output deploy "$(field .id)"
  output state "$(field .state)"
  output link "$(field .url)"
  printf '%s %s: %s\n' "$version" "$2" "$(field .id)"
  jq -r '.baseline.unmeasured[]? | "::warning title=\(.key) has no baseline::\(.message | gsub("[\r\n%]"; " "))"' "$work/body"
}

cancel() {
  local status id
  [ -n "${DEPLOYWATCH_REASON:-}" ] || fail 2 deploywatch "give \`reason\`, why it is cancelled"
  status=$(persist GET "api/v1/gate" 30 --get --data-urlencode "version=$version" \
    ${environment:+--data-urlencode "environment=$environment"})
  id=$(field .deploy.id)
  [ -n "$id" ] || refuse "$status"
  jq -n --arg reason "$DEPLOYWATCH_REASON" '{$reason}' >"$work/request"
  status=$(persist POST "api/v1/deploys/$id/cancel" 60 --header 'content-type: application/json' --data @"$work/request")
  case $status in 2*) printf '%s is cancelled\n' "$version" ;; *) refuse "$status" ;; esac
}

seconds() { # 90s, 15m, 1h, or a bare number of seconds
  [[ $1 =~ ^([0-9]{1,6})([smh]?)$ ]] || fail 2 deploywatch "\`wait\` is $1; write 90s, 15m or 1h"
  case ${BASH_REMATCH[2]} in m) echo $((BASH_REMATCH[1] * 60)) ;; h) echo $((BASH_REMATCH[1] * 3600)) ;; *) echo "${BASH_REMATCH[1]}" ;; esac
}

gate() {
  local wait deadline left status told="" line query
  wait=$(seconds "${DEPLOYWATCH_WAIT:-15m}") || { printf '%s\n' "$wait"; exit 2; }
  deadline=$((SECONDS + wait))
  query=(--data-urlencode "stage=${DEPLOYWATCH_STAGE:-smoke}" --data-urlencode "fail_on=${DEPLOYWATCH_FAIL_ON:-failure}")
  [ -z "$environment" ] || query+=(--data-urlencode "environment=$environment")
  if [ "${DEPLOYWATCH_PREVIOUS:-false}" = true ]; then
    query+=(--data-urlencode previous=true --data-urlencode "kind=$kind")
  else
    query+=(--data-urlencode "version=$version")
  fi
  while :; do
    left=$((deadline - SECONDS))
    status=$(request GET api/v1/gate 90 --get "${query[@]}" --data-urlencode "wait=$((left > 30 ? 30 : left > 0 ? left : 0))s")
    case $status in
      425) [ "$SECONDS" -lt "$deadline" ] || break ;;
      000 | 502 | 503 | 504) [ "$SECONDS" -lt "$deadline" ] || break; sleep "${DEPLOYWATCH_PAUSE:-2}" ;;
      *) break ;;
    esac
    line="waiting: $(jq -r '.reasons[0].message // empty' "$work/body" 2>/dev/null || true)"
    [ "$line" = "$told" ] || printf '%s\n' "$line"
    told=$line
  done
  [ -n "$(field .answer)" ] || refuse "$status"
  show
  exit "$(field .exit_code)"
}

# The answer for people: in the log, as annotations, and on the page of the run.
show() {
  output answer "$(field .answer)"
  output state "$(field .deploy.state)"
  output deploy "$(field .deploy.id)"
  output link "$(field .deploy.url)"
  jq -r '.explanation[]' "$work/body"
  [ -z "$(field .deploy.url)" ] || printf '  more      %s\n' "$(field .deploy.url)"
  jq -r '
    def data: gsub("%"; "%25") | gsub("\r"; "%0D") | gsub("\n"; "%0A");
    def property: data | gsub(":"; "%3A") | gsub(","; "%2C");
    def level: if . == "critical" then "error" else "warning" end;
    if (.deploy.failing // []) != [] and .answer != "go" then
      .deploy.failing[] | "::\(.severity | level) title=\(.title | property)::\(.message | data)"
    elif .answer == "go" then empty
    else "::\(if .answer == "stop" then "error" else "warning" end) title=deploywatch%3A \(.answer)::\(.reasons[0].message // "" | data)"
    end' "$work/body"
  [ -n "${GITHUB_STEP_SUMMARY:-}" ] || return 0
  jq -r '
    def cell: tostring | gsub("\\|"; "\\|") | gsub("[\r\n]"; " ") | gsub("<"; "&lt;");
    "### deploywatch: \(.answer)\n",
    (if .deploy then "\(.deploy.version | cell) in \(.deploy.environment | cell)\n" else empty end),
    (if (.deploy.failing // []) != [] then
      "| check | value | before | since |\n| --- | --- | --- | --- |",
      (.deploy.failing[] | "| \(.title | cell) | \(.message | cell) | \(.before // "-" | cell) | \(.since // "-" | cell) |"), ""
    else empty end),
    (.reasons[] | select(.code != "breached") | "- \(.message | cell)"),
    (if .deploy.url then "\n[Look at the deploy](\(.deploy.url))" else empty end)' "$work/body" >>"$GITHUB_STEP_SUMMARY"
}

case $command in
  start) announce api/v1/deploys "is started; its baseline is taken" ;;
  finish) announce api/v1/deploys/finish "is out; its window is open" ;;
  gate) gate ;;
  cancel) cancel ;;
  *) fail 2 deploywatch "\`command\` is '$command'; it is start, finish, gate or cancel" ;;
esac
