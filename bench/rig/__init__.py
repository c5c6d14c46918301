"""The rig: starts proxies and apps on loopback, loads them in alternating rounds, and reports what one request cost."""
