"""Kong SCIM: an identity provider's users and groups as Kong's consumers and access groups."""

__version__ = "0.1.0"
