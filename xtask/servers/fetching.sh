# Sourced by the scripts that fetch something into the cache directory: where that is, which versions are wanted, and Go. They set
# `partial`, a directory for what is not whole yet.

# The same rule as in crates/onewrite-testkit/src/servers/cache.rs. PostgreSQL refuses to run as root and its
# substitute, an unprivileged user, cannot look into /root: there the cache is a directory that all may read.
cache_directory() {
  if [ -n "${ONEWRITE_CACHE:-}" ]; then
    echo "$ONEWRITE_CACHE"
  elif [ -n "${XDG_CACHE_HOME:-}" ]; then
    echo "$XDG_CACHE_HOME/onewrite"
  elif [ "$(id -u)" = 0 ]; then
    echo /var/cache/onewrite
  else
    echo "$HOME/.cache/onewrite"
  fi
}

# Of the list of servers beside this file, by its property.
version_of() { sed -n "s|^ *<$1>\(.*\)</$1>\$|\1|p" "$(dirname "${BASH_SOURCE[0]}")/pom.xml"; }

# The machine's Go where it is new enough. Otherwise it fetches the toolchain that is, a module like any other, whose sum it
# checks; Go before 1.21 cannot do that by itself, and never marks the programs in it as such.
go_program() {
  local needed found toolchain
  needed=$(version_of go)
  command -v go > /dev/null || { echo "There is no go; install Debian's package golang-go, or Go itself." >&2; return 1; }
  found=$(GOTOOLCHAIN=local go env GOVERSION)
  if [ "$(printf '%s\n%s\n' "$needed" "${found#go}" | sort -V | head -1)" = "$needed" ]; then
    command -v go
    return
  fi
  toolchain="golang.org/toolchain@v0.0.1-go$needed.linux-$(go_architecture)"
  with_own_go_directories go mod download "$toolchain" >&2 || return
  toolchain="$partial/go/pkg/mod/$toolchain"
  chmod +x "$toolchain"/bin/* "$toolchain"/pkg/tool/*/*
  echo "$toolchain/bin/go"
}

go_architecture() {
  case "$(uname -m)" in
    aarch64) echo arm64 ;;
    *) echo amd64 ;;
  esac
}

# Nothing of it stays in the home directory, not even Go's telemetry; of what is set there, where modules come from counts.
with_own_go_directories() { # command and arguments
  env -u GOROOT "GOENV=$(go env GOENV)" "XDG_CONFIG_HOME=$partial/go-config" "GOPATH=$partial/go" \
    "GOCACHE=$partial/go-cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local GOWORK=off GO111MODULE=on CGO_ENABLED=0 "$@"
}
