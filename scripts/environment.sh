# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: creates or updates a Python environment with all requirements,
# exports its interpreter as PYTHON, and prepends its programs to PATH. Takes minutes the first time,
# later a fraction of a second.
#
# The environment is .venv in the repository. If ROS 2 is sourced, it is .venv-$ROS_DISTRO and uses
# ROS's own rclpy, cv_bridge, numpy and OpenCV; otherwise ROS 2 is installed as Python packages.
#
# DEPTH_PERCEPTION_PYTHON  base interpreter; by default a suitable one is searched for
# DEPTH_PERCEPTION_VENV    another folder for the environment
# DEPTH_PERCEPTION_TORCH_INDEX  package index for PyTorch, such as its index for CPUs only,
#                          https://download.pytorch.org/whl/cpu: 4 GB less

_dp_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_dp_venv=${DEPTH_PERCEPTION_VENV:-$_dp_root/.venv${ROS_DISTRO:+-$ROS_DISTRO}}
_dp_groups=(run replay demo view train test)
_dp_stamp=$_dp_venv/.depth_perception  # 'building', or the hash of what is installed
_dp_log=$_dp_venv/set-up.log

_dp_fail() {  # one sentence and the remedy
    printf 'set-up: %s\n' "$*" >&2
    return 1
}

_dp_wanted() {  # hash of everything that determines the content of the environment
    (cd "$_dp_root" && cat requirements/*.txt setup.py setup.cfg scripts/environment.sh &&
        echo "$_dp_root $_dp_venv ${DEPTH_PERCEPTION_PYTHON:-}") | sha256sum | cut -c1-64
}

_dp_ready() {
    [[ -x $_dp_venv/bin/python && -r $_dp_stamp && $(<"$_dp_stamp") == "$(_dp_wanted)" ]]
}

_dp_supported() {  # does the interpreter exist, and are there wheels for it?
    command -v "$1" >/dev/null &&
        "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

_dp_find_ros_python() {  # ROS's own interpreter
    local candidate
    for candidate in ${DEPTH_PERCEPTION_PYTHON:-python3 /usr/bin/python3}; do
        if "$candidate" -c 'import rclpy' 2>/dev/null; then
            _dp_base=$candidate
            return
        fi
    done
    _dp_fail "ROS 2 $ROS_DISTRO is sourced but python3 cannot import its rclpy: put ROS's python3" \
        "first in PATH or into DEPTH_PERCEPTION_PYTHON, or use a shell without ROS 2."
}

_dp_find_python() {  # any interpreter for which ROS 2 has wheels
    local candidate
    if [[ $(uname -sm) != 'Linux x86_64' ]]; then
        _dp_fail "Python packages of ROS 2 exist for Linux on x86-64 only, this is $(uname -sm):" \
            "install ROS 2, source its setup.bash and start again."
        return
    fi
    for candidate in ${DEPTH_PERCEPTION_PYTHON:-python3 python3.12 python3.13 python3.11 python3.10}
    do
        if _dp_supported "$candidate"; then
            _dp_base=$candidate
            return
        fi
    done
    candidate=${DEPTH_PERCEPTION_PYTHON:-python3}
    _dp_fail "no Python 3.10 to 3.13 found ($candidate is" \
        "$("$candidate" --version 2>/dev/null || echo missing)): install one and name it in" \
        "DEPTH_PERCEPTION_PYTHON, or install ROS 2 and source its setup.bash."
}

_dp_create() {  # the empty environment
    local free said options=()
    free=$(df -Pk "$(dirname "$_dp_venv")" | awk 'NR == 2 {print int($4 / 1048576)}')
    if ((free < 8)); then
        _dp_fail "the environment needs 8 GB, $(dirname "$_dp_venv") has $free GB: make room, or" \
            "name a folder on another disk in DEPTH_PERCEPTION_VENV."
        return
    fi
    [[ -z ${ROS_DISTRO:-} ]] || options=(--system-site-packages)
    rm -rf "$_dp_venv" && mkdir -p "$_dp_venv" && echo building >"$_dp_stamp" || return
    if ! said=$("$_dp_base" -m venv "${options[@]}" "$_dp_venv" 2>&1); then
        rm -rf "$_dp_venv"
        _dp_fail "$_dp_base cannot make a virtual environment; install its venv module (Debian," \
            "Ubuntu: sudo apt install python3-venv) and start again. It said: ${said##*$'\n'}"
    fi
}

_dp_requirements() {  # options of pip install
    local group
    for group in "${_dp_groups[@]}"; do
        printf '%s\n' -r "requirements/$group.txt"
    done
    [[ -n ${ROS_DISTRO:-} ]] || printf '%s\n' -r requirements/ros.txt
    "$_dp_venv/bin/python" -c 'import cv2' 2>/dev/null || printf '%s\n' -r requirements/opencv.txt
    # ROS's cv_bridge is compiled for ROS's numpy.
    if [[ -n ${ROS_DISTRO:-} ]] && "$_dp_base" -c \
        'import numpy, sys; sys.exit(numpy.__version__ >= "2")' 2>/dev/null; then
        echo 'numpy<2'
    fi
}

_dp_install() {
    local words
    mapfile -t words < <(_dp_requirements)
    # First, and only from there: otherwise pip would prefer a newer version in another index.
    [[ -z ${DEPTH_PERCEPTION_TORCH_INDEX:-} ]] || _dp_pip torch torchvision \
        --index-url "$DEPTH_PERCEPTION_TORCH_INDEX" || return
    _dp_pip "${words[@]}" && _dp_pip --no-deps --editable . || return
    # Separately: if there is no wheel, or pip fails, only speed is lost.
    _dp_pip -r requirements/openvino.txt || printf 'set-up: without OpenVINO, which pip could not %s\n' \
        "install: PyTorch runs the network ($(grep -E '^ERROR' "$_dp_log" | tail -n 1)). Try again \
with: $_dp_venv/bin/python -m pip install -r requirements/openvino.txt" >&2
}

_dp_pip() {  # pip install, with output to the log and one line of progress here
    local pid began=$SECONDS status
    "$_dp_venv/bin/python" -m pip install --progress-bar off --no-color \
        --disable-pip-version-check "$@" >>"$_dp_log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; wait "$pid"; echo; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        _dp_progress "$((SECONDS - began))"
        sleep 0.5
    done
    wait "$pid"
    status=$?
    trap - INT TERM
    [[ ! -t 2 ]] || printf '\r\033[K' >&2
    return "$status"
}

_dp_progress() {  # terminals only: what pip is doing
    [[ -t 2 ]] || return 0
    local doing
    doing=$(grep -oE '^ *(Collecting|Downloading|Installing|Building) .*' "$_dp_log" | tail -n 1)
    printf '\r\033[K%4d s  %.66s' "$1" "${doing#"${doing%%[! ]*}"}" >&2
}

_dp_explain() {  # explain a failure of pip by its log
    if grep -qi 'no space left' "$_dp_log"; then
        _dp_fail 'the disk is full: make 8 GB of room (pip also needs some in TMPDIR) and start again.'
    elif grep -qiE 'NewConnectionError|name resolution|Timeout|ProxyError|SSLError|versions: none' \
        "$_dp_log"; then
        _dp_fail "the package index cannot be reached: check the network and pip's proxy or index" \
            "settings (pip config list), then start again; details in $_dp_log."
    else
        _dp_fail "pip failed: $(grep -E '^ERROR' "$_dp_log" | tail -n 1); details in $_dp_log."
    fi
}

_dp_set_up() {  # restart an interrupted set-up; update an outdated one
    _dp_ready && return  # another process has done it meanwhile
    if [[ -n ${ROS_DISTRO:-} ]]; then _dp_find_ros_python; else _dp_find_python; fi || return
    cd "$_dp_root" || return
    printf 'set-up: installing into %s; the first time that is about 6 GB and takes minutes\n' \
        "$_dp_venv" >&2
    if ! "$_dp_venv/bin/python" -c '' 2>/dev/null || [[ $(cat "$_dp_stamp" 2>/dev/null) == building ]]
    then
        _dp_create || return
    fi
    echo building >"$_dp_stamp"
    : >"$_dp_log"
    _dp_install || { _dp_explain; return; }
    _dp_wanted >"$_dp_stamp"
    rm -f "$_dp_log"
    printf 'set-up: done in %d s\n' "$SECONDS" >&2
}

_dp_main() {
    _dp_ready && return
    # In a subshell, to keep its traps and folder separate. The lock on this file ends with it.
    (
        SECONDS=0
        if command -v flock >/dev/null && ! flock -n 9; then
            echo 'set-up: waiting for another set-up to finish' >&2
            flock 9
        fi
        _dp_set_up
    ) 9<"$_dp_root/scripts/environment.sh"
}

if ! _dp_main; then
    case $- in *i*) return 1 ;; *) exit 1 ;; esac  # keep an interactive shell
fi
export PYTHON=$_dp_venv/bin/python
case $PATH in "$_dp_venv/bin":*) ;; *) export PATH=$_dp_venv/bin:$PATH ;; esac
