"""Starts the node: `ros2 launch edgereason_ros think.launch.py model:=smollm2-135m`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    config = PathJoinSubstitution([FindPackageShare("edgereason_ros"), "config", "think.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("model", default_value="smollm2-135m"),
            DeclareLaunchArgument("namespace", default_value=""),
            DeclareLaunchArgument("params", default_value=config),
            LifecycleNode(
                package="edgereason_ros",
                executable="think",
                name="edgereason",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("params"),
                    {"model.path": LaunchConfiguration("model")},
                ],
                output="screen",
            ),
        ]
    )
