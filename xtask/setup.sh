# Sourced by ./x: brings a machine to where Cargo can build and the tests can run. Installs only what is missing.

BUILD_PACKAGES=(build-essential ca-certificates)
BROKER_CLIENT_PACKAGES=(pkg-config libssl-dev libsasl2-dev zlib1g-dev)
SERVER_PACKAGES=(maven unzip xz-utils sqlite3 mosquitto rabbitmq-server redis-server libfaketime)
# For pg_recvlogical.
BENCH_PACKAGES=(postgresql-client)
CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2
# krafka, whose broker the tests run inside themselves, needs it; the product builds with the rust-version of Cargo.toml.
TESTS_RUST_VERSION=1.95

# For `demo`: a C compiler for SQLite, and Rust.
set_up_build() {
  need_packages "${BUILD_PACKAGES[@]}"
  need_rust "$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
}

# For everything else: also what librdkafka links, and Java with Maven, and Go, for the real servers.
set_up_tests() {
  local packages=("${BUILD_PACKAGES[@]}" "${BROKER_CLIENT_PACKAGES[@]}" "${SERVER_PACKAGES[@]}")
  has_java || packages+=("$(java_package)")
  # Any Go: where it is too old for a server, xtask/servers/fetch has it fetch a newer one.
  command -v go > /dev/null || packages+=(golang-go)
  need_packages "${packages[@]}"
  need_rust "$TESTS_RUST_VERSION"
}

# For the scenario peers of `bench`: what the products run on, and themselves. Java, Maven and Go are there for the servers.
set_up_peers() { # names
  local packages=() name
  for name in "$@"; do
    case "$name" in
      debezium-server) python3 -m pip --version > /dev/null 2>&1 || packages+=(python3-pip) ;;
      pg-transactional-outbox) { command -v node && command -v npm; } > /dev/null || packages+=(nodejs npm) ;;
    esac
  done
  need_packages "${packages[@]}"
  crates/onewrite-bench/peers/fetch "$@"
}

need_packages() { # names
  command -v dpkg-query > /dev/null || { need_commands; return; }
  local package missing=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  can_be_root || fail "Neither root nor sudo. As root, run: apt-get update && apt-get install -y ${missing[*]}"
  local install=(apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}")
  heading "installing ${missing[*]}"
  is_on_offer "${missing[@]}" && as_root "${install[@]}" && return
  update_package_lists
  as_root "${install[@]}" || fail "These packages could not be installed: ${missing[*]}."
}

is_on_offer() { # names
  local package
  for package in "$@"; do
    apt-cache policy "$package" 2> /dev/null | grep -q '^ *Candidate: [^(]' || return 1
  done
}

update_package_lists() { as_root apt-get -o DPkg::Lock::Timeout=300 update; }

# On systems without apt only a look, and a message.
need_commands() {
  local command missing=()
  for command in cc make; do
    command -v "$command" > /dev/null || missing+=("$command")
  done
  [ ${#missing[@]} -eq 0 ] ||
    fail "Missing: ${missing[*]}. ./x installs packages on Debian and Ubuntu only; install what corresponds to: $*."
}

can_be_root() { [ "$(id -u)" = 0 ] || command -v sudo > /dev/null; }

as_root() {
  local become=()
  [ "$(id -u)" = 0 ] || become=(sudo)
  "${become[@]}" env DEBIAN_FRONTEND=noninteractive "$@"
}

has_java() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || return 1
  [ "${version:-0}" -ge 17 ]
}

java_package() {
  if is_on_offer openjdk-17-jre-headless; then
    echo openjdk-17-jre-headless
  else
    echo default-jre-headless
  fi
}

need_rust() { # version
  local needed=$1
  [ -d "$HOME/.cargo/bin" ] && PATH="$HOME/.cargo/bin:$PATH"
  rust_is_at_least "$needed" && return
  heading "installing Rust $needed or newer"
  if ! command -v rustup > /dev/null && ! command -v cargo > /dev/null; then
    install_rustup
  fi
  if command -v rustup > /dev/null; then
    rustup toolchain install stable --profile minimal --component rustfmt --component clippy
  fi
  rust_is_at_least "$needed" || fail "Rust $needed or newer is needed, and $(cargo --version 2> /dev/null || echo none) is here.
Run this (apt-get install -y curl, if it is missing), open a new shell, and start again:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
}

# Debian 13, Ubuntu 24.04 and later have a package of it.
install_rustup() {
  command -v apt-cache > /dev/null && can_be_root || return 0
  is_on_offer rustup || update_package_lists
  ! is_on_offer rustup || need_packages rustup
}

rust_is_at_least() { # version
  local found
  found=$(cargo --version 2> /dev/null | cut -d' ' -f2) || return 1
  [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$1" "$found" | sort -V | head -1)" = "$1" ]
}

# Built once, cargo-deny in about two minutes on two cores and cargo-fuzz in half a one, and kept with Cargo's other programs.
need_cargo_program() { # name, version
  cargo "$1" --version > /dev/null 2>&1 || cargo install "cargo-$1" --locked --version "$2"
}
