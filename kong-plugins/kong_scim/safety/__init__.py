"""The safety net against a mistaken identity provider: nobody removes everybody at once unasked."""
