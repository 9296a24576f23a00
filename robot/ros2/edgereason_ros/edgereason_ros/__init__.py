"""The ROS 2 node of edgereason."""
