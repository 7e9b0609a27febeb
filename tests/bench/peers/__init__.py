"""The other SCIM servers that ``make bench`` compares with."""
