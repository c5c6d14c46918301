# Installs missing Debian packages, saying so; sourced by scripts/up and scripts/test.

# One clear line, and the end.
give_up() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Stops early when something that is not ours to install is missing.
need_toolchain() {
    command -v cargo >/dev/null || give_up "cargo is missing; install Rust first: https://rustup.rs"
    command -v gcc >/dev/null || command -v cc >/dev/null ||
        give_up "gcc is missing; install it first: apt-get install gcc"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# install_missing COMMAND=PACKAGE…: installs each package whose command is not found.
install_missing() {
    local pair packages=()
    for pair in "$@"; do
        # Servers are where an ordinary user's path does not lead.
        PATH="${PATH}:/usr/sbin" command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
    done
    if [ "${#packages[@]}" -eq 0 ]; then
        return
    fi
    local wanted="${packages[*]}"
    command -v apt-get >/dev/null || give_up "cannot install ${wanted}: no apt-get here; install it by hand and try again"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            give_up "cannot install ${wanted}: neither root nor sudo; run as root: apt-get install ${wanted}"
    fi
    echo "${0##*/}: installing ${wanted} with apt-get"
    as_root apt-get update -qq || give_up "cannot install ${wanted}: apt-get update failed"
    install_without_starting "${packages[@]}" || give_up "cannot install ${wanted}: apt-get install failed"
}

# install_python FOLDER: puts what tests/requirements.txt names into a place of its own, which nothing else sees.
install_python() {
    local folder=$1 wanted=tests/requirements.txt
    # One that was moved, or whose Python is gone, does not run any more: its scripts name where it was.
    if cmp -s "${wanted}" "${folder}/requirements.txt" && "${folder}/bin/pip" --version >/dev/null 2>&1; then
        return
    fi
    # Debian keeps what makes such places in a package of its own.
    python3 -c 'import ensurepip' 2>/dev/null || install_missing no-such-command=python3-venv
    echo "${0##*/}: installing ${wanted} with pip"
    rm -rf "${folder}"
    python3 -m venv "${folder}" || give_up "cannot install ${wanted}: python3 -m venv failed"
    "${folder}/bin/pip" install --quiet --disable-pip-version-check --requirement "${wanted}" ||
        give_up "cannot install ${wanted}: pip failed; is PyPI, or a mirror of it, reachable?"
    cp "${wanted}" "${folder}/requirements.txt"
}

# Some packages start a service when they are installed; we only want their files.
install_without_starting() {
    local policy=/usr/sbin/policy-rc.d ours=no status=0 package
    if [ ! -e "${policy}" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "${policy}" >/dev/null
        as_root chmod 755 "${policy}"
        ours=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" || status=$?
    if [ "${ours}" = yes ]; then
        as_root rm -f "${policy}"
    fi
    for package in "$@"; do
        stop_service "${package}"
    done
    return "${status}"
}

# Only called for packages installed a moment ago: nobody relies on their service yet.
stop_service() {
    if [ -d /run/systemd/system ] && systemctl cat "$1.service" >/dev/null 2>&1; then
        echo "${0##*/}: switching off the service that came with $1"
        as_root systemctl disable --now --quiet "$1.service" || true
    fi
}
