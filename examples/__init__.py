"""A small network operator: nodes, ports on them, and layer 2 VPNs between ports."""
