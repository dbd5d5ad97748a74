"""What Dagster loads."""

from datetime import timedelta

from examples.controller import Controller
from examples.products.l2vpn import L2vpn, Topology
from examples.products.node import Node, Vendor
from examples.products.port import InterfaceSpeed, Port
from examples.workflows.l2vpn import create_l2vpn, modify_l2vpn, reconcile_l2vpn, terminate_l2vpn, validate_l2vpn
from examples.workflows.node import create_node, modify_node, reconcile_node, terminate_node, validate_node
from examples.workflows.port import create_port, modify_port, reconcile_port, terminate_port, validate_port
from orchestrator_dagster import Orchestrator, Product

node_workflows = [create_node, modify_node, validate_node, reconcile_node, terminate_node]
port_workflows = [create_port, modify_port, validate_port, reconcile_port, terminate_port]
l2vpn_workflows = [create_l2vpn, modify_l2vpn, validate_l2vpn, reconcile_l2vpn, terminate_l2vpn]

orchestrator = Orchestrator(
    products=[
        Product(
            "Node Juniper",
            Node,
            tag="NODE",
            fixed_inputs={"vendor": Vendor.JUNIPER},
            workflows=node_workflows,
            description="Juniper router at one of our sites",
        ),
        Product(
            "Node Nokia",
            Node,
            tag="NODE",
            fixed_inputs={"vendor": Vendor.NOKIA},
            workflows=node_workflows,
            description="Nokia router at one of our sites",
        ),
        Product(
            "Port 10G",
            Port,
            tag="PORT",
            fixed_inputs={"interface_speed": InterfaceSpeed.TEN_GIGABIT},
            workflows=port_workflows,
            description="Connection of a customer over 10 Gbit/s interfaces",
        ),
        Product(
            "Port 100G",
            Port,
            tag="PORT",
            fixed_inputs={"interface_speed": InterfaceSpeed.HUNDRED_GIGABIT},
            workflows=port_workflows,
            description="Connection of a customer over 100 Gbit/s interfaces",
        ),
        Product(
            "L2VPN Point-to-Point",
            L2vpn,
            tag="L2VPN",
            fixed_inputs={"topology": Topology.POINT_TO_POINT},
            workflows=l2vpn_workflows,
            description="Ethernet between two ports",
        ),
        Product(
            "L2VPN Multipoint",
            L2vpn,
            tag="L2VPN",
            fixed_inputs={"topology": Topology.MULTIPOINT},
            workflows=l2vpn_workflows,
            description="Ethernet between two to eight ports",
        ),
    ],
    resources={"controller": Controller()},
    validate_every=timedelta(hours=24),
)

defs = orchestrator.definitions()
