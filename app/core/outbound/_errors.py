"""What this room refuses.

GatehouseError
└── AddressRefused  502  the host is not on the list, or an address of it is not one that may be called
"""

from app.core.errors import GatehouseError


class AddressRefused(GatehouseError):
    """Nothing was sent: the host, or where it leads, may not be called. Asking again does not help. Never says which address it was: that
    would tell a stranger what there is in our network.
    """

    status = 502
    title = "Bad Gateway"

    def __init__(self) -> None:
        super().__init__("This host may not be called.")
