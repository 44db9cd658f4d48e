"""No fault: a store that moves its log into the file every 60 pages rather than every 1000, so that a short load sees it often. That is
when a power cut could do most."""

try:
    from gateway.stores.sqlite import connection
except ImportError:
    connection = None  # an interpreter that does not run the gateway

if connection is not None:
    connection.CHECKPOINT_PAGES = 60
