-- The schema of the configuration, made by `make docs` from kong_scim/config/.
-- Kong's command line reads it here, where it has no plugin server to ask (see handler.lua).
-- luacheck: no max line length

local cjson = require "cjson"
local typedefs = require "kong.db.schema.typedefs"


return {
  name = "scim",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = { type = "record", fields = cjson.decode([==[
[
 {
  "tenant": {
   "description": "Keeps this identity provider's resources apart from those of other instances. Everything created carries the tags `scim` and `scim:<tenant>`.",
   "type": "string",
   "len_min": 0,
   "len_max": 64,
   "match": "^%w[%w_.%-]*$",
   "not_one_of": [
    "suspended"
   ],
   "default": "default",
   "required": true
  }
 },
 {
  "auth": {
   "description": "`bearer`: one of `tokens`, or a JWT as `jwt` says. `kong`: the consumer whom Kong authenticated on the route, by the ACL groups in `group_scopes`.",
   "type": "string",
   "len_min": 0,
   "one_of": [
    "bearer",
    "kong"
   ],
   "default": "bearer",
   "required": true
  }
 },
 {
  "tokens": {
   "description": "Bearer tokens that are accepted, any of them: two during a rotation.",
   "type": "array",
   "elements": {
    "type": "record",
    "fields": [
     {
      "name": {
       "description": "What logs call this token. Its value is never logged.",
       "type": "string",
       "len_min": 1,
       "len_max": 64,
       "match": "^[%w_.%-]+$",
       "required": true
      }
     },
     {
      "value": {
       "description": "The token, best as a vault reference such as `{vault://env/scim-token}`, which is resolved on each request. One of `value`, `file` and `sha256`.",
       "type": "string",
       "len_min": 1,
       "len_max": 4096,
       "encrypted": true,
       "referenceable": true
      }
     },
     {
      "file": {
       "description": "A file on the plugin server's machine that holds the token, or several, one a line. What changes in it counts within a second; replace it by renaming. It counts only where nobody else may change it (docs/security.md).",
       "type": "string",
       "len_min": 0,
       "len_max": 1024,
       "match": "^/"
      }
     },
     {
      "sha256": {
       "description": "The token's SHA-256 in hex, so that the configuration holds no secret: `kong-scim token new` prints it.",
       "type": "string",
       "len_min": 64,
       "len_max": 64,
       "match": "^[0-9a-f]+$"
      }
     },
     {
      "scopes": {
       "description": "What the token may do, see docs/security.md. Without any: `scim:read`, `scim:users`, `scim:groups` and `scim:bulk`, which is all that a provider needs.",
       "type": "array",
       "elements": {
        "type": "string",
        "len_min": 0,
        "one_of": [
         "scim:read",
         "scim:users",
         "scim:groups",
         "scim:bulk",
         "scim:events",
         "scim:admin"
        ]
       },
       "len_min": 0,
       "len_max": 16,
       "default": [],
       "required": true
      }
     },
     {
      "expires": {
       "description": "When the token stops to count, in UTC: `2027-01-31T00:00:00Z`. The plugin server's log warns from 14 days before.",
       "type": "string",
       "len_min": 0,
       "match": "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"
      }
     },
     {
      "networks": {
       "description": "Addresses the token counts from, as CIDR: `203.0.113.0/24`. Without any, from all. The client's address is what Kong judges it to be (`trusted_ips`).",
       "type": "array",
       "elements": {
        "type": "string",
        "len_min": 1,
        "len_max": 64
       },
       "len_min": 0,
       "len_max": 64,
       "default": [],
       "required": true
      }
     }
    ],
    "entity_checks": [
     {
      "only_one_of": [
       "value",
       "file",
       "sha256"
      ]
     }
    ]
   },
   "len_min": 0,
   "len_max": 32,
   "default": [],
   "required": true
  }
 },
 {
  "jwt": {
   "description": "JWTs that are accepted as bearer tokens.",
   "type": "record",
   "fields": [
    {
     "issuer": {
      "description": "Accept JWTs whose `iss` is this, exactly: `https://example.okta.com/oauth2/default`. Without it, none are accepted.",
      "type": "string",
      "len_min": 0
     }
    },
    {
     "audience": {
      "description": "One of these must be in the JWT's `aud`.",
      "type": "array",
      "elements": {
       "type": "string",
       "len_min": 1,
       "len_max": 512
      },
      "len_min": 0,
      "len_max": 16,
      "default": [],
      "required": true
     }
    },
    {
     "jwks_url": {
      "description": "Where the issuer publishes its keys. The plugin server fetches them, so it needs a way there. This or `public_key`.",
      "type": "string",
      "len_min": 0,
      "match": "^https?://[^%s/?#@]+/?[^%s#]*$"
     }
    },
    {
     "allow_http": {
      "description": "Let `jwks_url` be plain HTTP: for tests, never elsewhere.",
      "type": "boolean",
      "default": false,
      "required": true
     }
    },
    {
     "refresh_floor": {
      "description": "Seconds between two fetches of the keys at least, however many unknown key ids arrive.",
      "type": "integer",
      "between": [
       1,
       3600
      ],
      "default": 30,
      "required": true
     }
    },
    {
     "public_key": {
      "description": "The issuer's public key, pinned: PEM, JWK or JWKS as text.",
      "type": "string",
      "len_min": 0,
      "len_max": 65536
     }
    },
    {
     "algorithms": {
      "description": "Signature algorithms that are accepted, whatever a JWT says of itself.",
      "type": "array",
      "elements": {
       "type": "string",
       "len_min": 0,
       "one_of": [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA"
       ]
      },
      "len_min": 1,
      "len_max": 10,
      "default": [
       "RS256",
       "PS256",
       "ES256"
      ],
      "required": true
     }
    },
    {
     "scope_claim": {
      "description": "The claim with the scopes, as a list or as words: `scp` with Okta, `roles` with Entra.",
      "type": "string",
      "len_min": 1,
      "len_max": 256,
      "default": "scope",
      "required": true
     }
    },
    {
     "scopes": {
      "description": "What other values of that claim stand for. `scim:...` itself needs no entry; a JWT with none of either may do nothing.",
      "type": "map",
      "keys": {
       "type": "string"
      },
      "values": {
       "type": "array",
       "elements": {
        "type": "string",
        "len_min": 0,
        "one_of": [
         "scim:read",
         "scim:users",
         "scim:groups",
         "scim:bulk",
         "scim:events",
         "scim:admin"
        ]
       },
       "len_min": 1,
       "len_max": 16
      },
      "default": {},
      "required": true
     }
    },
    {
     "clock_skew": {
      "description": "Seconds by which the issuer's clock may differ.",
      "type": "integer",
      "between": [
       0,
       600
      ],
      "default": 60,
      "required": true
     }
    }
   ],
   "entity_checks": [
    {
     "mutually_exclusive": [
      "jwks_url",
      "public_key"
     ]
    },
    {
     "conditional_at_least_one_of": {
      "if_field": "issuer",
      "if_match": {
       "required": true
      },
      "then_at_least_one_of": [
       "jwks_url",
       "public_key"
      ]
     }
    },
    {
     "conditional": {
      "if_field": "issuer",
      "if_match": {
       "required": true
      },
      "then_field": "audience",
      "then_match": {
       "len_min": 1,
       "required": true
      }
     }
    }
   ],
   "required": true
  }
 },
 {
  "group_scopes": {
   "description": "With `auth: kong`, the scopes of the consumers in an ACL group. No provider of this tenant can fill such a group, unless `groups.allow` has it.",
   "type": "map",
   "keys": {
    "type": "string"
   },
   "values": {
    "type": "array",
    "elements": {
     "type": "string",
     "len_min": 0,
     "one_of": [
      "scim:read",
      "scim:users",
      "scim:groups",
      "scim:bulk",
      "scim:events",
      "scim:admin"
     ]
    },
    "len_min": 1,
    "len_max": 16
   },
   "default": {},
   "required": true
  }
 },
 {
  "limits": {
   "description": "Rate limits, and limits of what one request may cost.",
   "type": "record",
   "fields": [
    {
     "failed_attempts": {
      "description": "Wrong credentials from one address within a minute, after which more of them get 429; from the half on, answers are slowed. Right ones pass. 0 for no limit.",
      "type": "integer",
      "between": [
       0,
       100000
      ],
      "default": 20,
      "required": true
     }
    },
    {
     "requests_per_minute": {
      "description": "Requests with one token, evened out over ten seconds; more get 429. 0 for no limit.",
      "type": "integer",
      "between": [
       0,
       10000000
      ],
      "default": 60000,
      "required": true
     }
    },
    {
     "cpu_seconds": {
      "description": "Seconds of a processor that one request, or one operation of a Bulk request, may take of the plugin server; what takes more is 413 and writes nothing.",
      "type": "integer",
      "between": [
       1,
       60
      ],
      "default": 10,
      "required": true
     }
    },
    {
     "statement_seconds": {
      "description": "Seconds that one statement may take in the database, which then stops it. With PostgreSQL never more than nine tenths of Kong's `pg_timeout` (5 s by default).",
      "type": "integer",
      "between": [
       1,
       60
      ],
      "default": 4,
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "base_url": {
   "description": "Public URL of the SCIM endpoints, such as `https://gw.example.com/scim/v2`. Set it where Kong does not know its public name. Without it the URL is taken from the request, as far as Kong trusts it.",
   "type": "string",
   "len_min": 0,
   "match_any": {
    "err": "give an absolute URL such as https://gw.example.com/scim/v2",
    "patterns": [
     "^https?://[^%s/?#@]+$",
     "^https?://[^%s/?#@]+/[^%s?#]*$"
    ]
   }
  }
 },
 {
  "require_https": {
   "description": "Refuse (403) requests that did not come over TLS, as Kong judges it (`trusted_ips`).",
   "type": "boolean",
   "default": true,
   "required": true
  }
 },
 {
  "consumer": {
   "description": "Which attributes of a user name its consumer.",
   "type": "record",
   "fields": [
    {
     "username": {
      "description": "SCIM attribute that becomes the consumer's `username`.",
      "type": "string",
      "len_min": 0,
      "match_any": {
       "err": "name a SCIM attribute path such as userName or name.familyName",
       "patterns": [
        "^%a[%w_$%-]*$",
        "^%a[%w_$%-]*%.%a[%w_$%-]*$",
        "^urn:[^%s,/]+:%a[%w_$%-]*$",
        "^urn:[^%s,/]+:%a[%w_$%-]*%.%a[%w_$%-]*$"
       ]
      },
      "default": "userName",
      "required": true
     }
    },
    {
     "custom_id": {
      "description": "SCIM attribute that becomes the consumer's `custom_id`; an empty string for none. It must be unique in the workspace.",
      "type": "string",
      "len_min": 0,
      "match_any": {
       "err": "name a SCIM attribute path such as userName or name.familyName",
       "patterns": [
        "^%a[%w_$%-]*$",
        "^%a[%w_$%-]*%.%a[%w_$%-]*$",
        "^urn:[^%s,/]+:%a[%w_$%-]*$",
        "^urn:[^%s,/]+:%a[%w_$%-]*%.%a[%w_$%-]*$",
        "^$"
       ]
      },
      "default": "externalId",
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "groups": {
   "description": "How groups are named in Kong.",
   "type": "record",
   "fields": [
    {
     "map": {
      "description": "displayName to ACL group; tried first. Blanks at the ends do not count, and several together are one.",
      "type": "map",
      "keys": {
       "type": "string"
      },
      "values": {
       "type": "string",
       "len_min": 0
      },
      "default": {},
      "required": true
     }
    },
    {
     "pattern": {
      "description": "Regular expression (Python, whole name). Where it matches, `replacement` is the ACL group's name.",
      "type": "string",
      "len_min": 0,
      "is_regex": true
     }
    },
    {
     "replacement": {
      "description": "What a match of `pattern` becomes; `\\1` is the first bracket.",
      "type": "string",
      "len_min": 0,
      "default": "\\1",
      "required": true
     }
    },
    {
     "prefix": {
      "description": "Put before the name of every ACL group that this tenant gives, those of roles and entitlements included, but not before a name that `map` gives: with one of its own for each tenant no provider can name the group of another.",
      "type": "string",
      "len_min": 0,
      "len_max": 128,
      "match": "^[^%c,]*$",
      "default": "",
      "required": true
     }
    },
    {
     "allow": {
      "description": "ACL groups that this tenant may give although somebody else gives them too: another tenant, an administrator by hand, or, with `auth: kong`, `group_scopes`. Names, or regular expressions (Python) for whole names, after mapping and prefix.",
      "type": "array",
      "elements": {
       "type": "string",
       "len_min": 1,
       "len_max": 512,
       "is_regex": true
      },
      "len_min": 0,
      "len_max": 256,
      "default": [],
      "required": true
     }
    },
    {
     "unmatched": {
      "description": "What becomes of a name that `allow` does not have, or, where `allow` is empty, that neither `map` nor `pattern` matches. `keep`: it is an ACL group. `refuse`: the group cannot be created, nor renamed so (400). `ignore`: it stays a SCIM group and opens nothing in Kong.",
      "type": "string",
      "len_min": 0,
      "one_of": [
       "keep",
       "refuse",
       "ignore"
      ],
      "default": "keep",
      "required": true
     }
    },
    {
     "targets": {
      "description": "Whether a group is an ACL group in Kong, a consumer group, or both. The same rules hold for roles and entitlements.",
      "type": "record",
      "fields": [
       {
        "map": {
         "description": "Name of a group in Kong, after mapping and prefix, to what it is there; tried first.",
         "type": "map",
         "keys": {
          "type": "string"
         },
         "values": {
          "type": "string",
          "len_min": 0,
          "one_of": [
           "acl",
           "consumer_group",
           "both"
          ]
         },
         "default": {},
         "required": true
        }
       },
       {
        "patterns": {
         "description": "Tried in their order where `map` has not the name.",
         "type": "array",
         "elements": {
          "type": "record",
          "fields": [
           {
            "pattern": {
             "description": "Regular expression (Python) for the whole name of a group in Kong.",
             "type": "string",
             "len_min": 1,
             "len_max": 512,
             "is_regex": true,
             "required": true
            }
           },
           {
            "target": {
             "description": "What a group with such a name is in Kong.",
             "type": "string",
             "len_min": 0,
             "one_of": [
              "acl",
              "consumer_group",
              "both"
             ],
             "required": true
            }
           }
          ]
         },
         "len_min": 0,
         "len_max": 64,
         "default": [],
         "required": true
        }
       },
       {
        "default": {
         "description": "What all other groups are in Kong: an ACL group (`acl`), a consumer group (`consumer_group`, which only Kong Enterprise has), or `both`.",
         "type": "string",
         "len_min": 0,
         "one_of": [
          "acl",
          "consumer_group",
          "both"
         ],
         "default": "acl",
         "required": true
        }
       }
      ],
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "roles": {
   "description": "How roles and entitlements are named in Kong.",
   "type": "record",
   "fields": [
    {
     "enabled": {
      "description": "Turn `roles` and `entitlements` into ACL groups.",
      "type": "boolean",
      "default": true,
      "required": true
     }
    },
    {
     "roles_prefix": {
      "description": "Put before a role's value.",
      "type": "string",
      "len_min": 0,
      "default": "role:",
      "required": true
     }
    },
    {
     "entitlements_prefix": {
      "description": "Put before an entitlement's value.",
      "type": "string",
      "len_min": 0,
      "default": "entitlement:",
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "subjects": {
   "description": "How the tokens of issuers name users, for people who have no consumer: the guard refuses the tokens of users who are disabled or deleted (see `claims` of `scim-bridge`).",
   "type": "array",
   "elements": {
    "type": "record",
    "fields": [
     {
      "issuer": {
       "description": "`iss` of the tokens, to the letter. For a source whose claims have no `iss`, the issuer that `claims_issuer` of `scim-bridge` names.",
       "type": "string",
       "len_min": 1,
       "len_max": 512,
       "match": "^[^%c%s]+$",
       "required": true
      }
     },
     {
      "claim": {
       "description": "Claim that names the user, such as `sub`, `oid`, `preferred_username` or `email`. A claim in an object is written with dots.",
       "type": "string",
       "len_min": 1,
       "len_max": 128,
       "default": "sub",
       "required": true
      }
     },
     {
      "attribute": {
       "description": "SCIM attribute with the value of the claim, such as `externalId`, `userName` or `emails.value`. No two users can have the same value.",
       "type": "string",
       "len_min": 0,
       "default": "externalId",
       "required": true
      }
     },
     {
      "ignore_case": {
       "description": "Whether `Ann@Example.com` in a token is the user `ann@example.com`. Only the letters of ASCII have a case here.",
       "type": "boolean",
       "default": false,
       "required": true
      }
     }
    ]
   },
   "len_min": 0,
   "len_max": 16,
   "default": [],
   "required": true
  }
 },
 {
  "on_deactivate": {
   "description": "`revoke`: credentials deleted, groups removed, consumer refused. `suspend`: keeps the credentials, the guard refuses the consumer. `delete`: the consumer is deleted.",
   "type": "string",
   "len_min": 0,
   "one_of": [
    "revoke",
    "suspend",
    "delete"
   ],
   "default": "revoke",
   "required": true
  }
 },
 {
  "guard": {
   "description": "Whether `scim-bridge`, which refuses suspended consumers, must be enabled for every route: `required` (503 until it is) or `optional` (a warning, and the header `Kong-SCIM-Guard: off`).",
   "type": "string",
   "len_min": 0,
   "one_of": [
    "required",
    "optional"
   ],
   "default": "required",
   "required": true
  }
 },
 {
  "adopt": {
   "description": "A user whose name meets a consumer that SCIM did not create: `refuse` (409) or `link` (take it over).",
   "type": "string",
   "len_min": 0,
   "one_of": [
    "refuse",
    "link"
   ],
   "default": "refuse",
   "required": true
  }
 },
 {
  "events": {
   "description": "What an event of a change contains, and where it is sent.",
   "type": "record",
   "fields": [
    {
     "values": {
      "description": "Attributes whose new values are kept with an event, such as `userName`, and `urn:...:User:department` of an extension; of all others only the name is. The audit trail cannot be edited: what is kept there stays when the person is deleted.",
      "type": "array",
      "elements": {
       "type": "string",
       "len_min": 1,
       "len_max": 256
      },
      "len_min": 0,
      "len_max": 64,
      "default": [],
      "required": true
     }
    },
    {
     "keep_days": {
      "description": "Days for which events stay in the audit trail. It can be verified after older ones were dropped.",
      "type": "integer",
      "between": [
       1,
       36500
      ],
      "default": 400,
      "required": true
     }
    },
    {
     "webhooks": {
      "description": "Targets that get each event, at least once and in order for each resource.",
      "type": "array",
      "elements": {
       "type": "record",
       "fields": [
        {
         "name": {
          "description": "What logs and `kong-scim deliveries` call this target.",
          "type": "string",
          "len_min": 1,
          "len_max": 64,
          "match": "^[%w_.%-]+$",
          "required": true
         }
        },
        {
         "url": {
          "description": "Where events are posted. Redirects are not followed.",
          "type": "string",
          "len_min": 0,
          "len_max": 2048,
          "match": "^https?://[^%s/?#@]+[^%s#]*$",
          "required": true
         }
        },
        {
         "format": {
          "description": "`json`: the event, signed with HMAC-SHA256 in the form of Standard Webhooks. `set`: a Security Event Token (RFC 8417) with the events of RFC 9967, pushed as RFC 8935 says; it needs `events.signing_key` or `signing_key_file`.",
          "type": "string",
          "len_min": 0,
          "one_of": [
           "json",
           "set"
          ],
          "default": "json",
          "required": true
         }
        },
        {
         "secret": {
          "description": "What `json` is signed with, best as a vault reference: `whsec_` and base64, or any text; two, one a line, during a rotation.",
          "type": "string",
          "len_min": 0,
          "len_max": 4096,
          "encrypted": true,
          "referenceable": true,
          "default": "",
          "required": true
         }
        },
        {
         "secret_file": {
          "description": "A file on the plugin server's machine that holds it instead. What changes in it counts within a second; replace it by renaming.",
          "type": "string",
          "len_min": 0,
          "len_max": 1024,
          "match": "^/"
         }
        },
        {
         "events": {
          "description": "Only these, such as `user.create`, `user.deactivate`, `group.member-remove`: the type of the resource, and the operation or an action. Empty: every event.",
          "type": "array",
          "elements": {
           "type": "string",
           "len_min": 1,
           "len_max": 64
          },
          "len_min": 0,
          "len_max": 64,
          "default": [],
          "required": true
         }
        },
        {
         "audience": {
          "description": "The `aud` of a token; empty: the URL.",
          "type": "string",
          "len_min": 0,
          "len_max": 2048,
          "default": "",
          "required": true
         }
        }
       ]
      },
      "len_min": 0,
      "len_max": 16,
      "default": [],
      "required": true
     }
    },
    {
     "poll": {
      "description": "Keep Security Event Tokens for a receiver that cannot be called and polls `/Events/poll` (RFC 8936); it needs `events.signing_key` or `signing_key_file`.",
      "type": "boolean",
      "default": false,
      "required": true
     }
    },
    {
     "poll_audience": {
      "description": "The `aud` of polled tokens; empty: `base_url`, or else their `iss`.",
      "type": "string",
      "len_min": 0,
      "len_max": 2048,
      "default": "",
      "required": true
     }
    },
    {
     "signing_key": {
      "description": "Private key of Security Event Tokens, best as a vault reference: RSA of 2,048 bits or more, EC or Ed25519, in PEM or as a JWK. The public one is at `/jwks.json`. Of several (PEM blocks, a JWK set) the first signs, and all are there.",
      "type": "string",
      "len_min": 0,
      "len_max": 16384,
      "encrypted": true,
      "referenceable": true,
      "default": "",
      "required": true
     }
    },
    {
     "signing_key_file": {
      "description": "A file on the plugin server's machine that holds it instead, or several. A change is noticed within a second; replace the file by renaming another one.",
      "type": "string",
      "len_min": 0,
      "len_max": 1024,
      "match": "^/"
     }
    },
    {
     "issuer": {
      "description": "The `iss` of tokens; empty: `base_url`, or else `kong-scim`.",
      "type": "string",
      "len_min": 0,
      "len_max": 2048,
      "default": "",
      "required": true
     }
    },
    {
     "give_up_hours": {
      "description": "Hours after which a delivery that keeps failing is given up; `kong-scim deliveries` shows it and sends it again.",
      "type": "integer",
      "between": [
       1,
       8760
      ],
      "default": 72,
      "required": true
     }
    },
    {
     "timeout": {
      "description": "Seconds for one delivery, from the connection to the answer.",
      "type": "integer",
      "between": [
       1,
       60
      ],
      "default": 10,
      "required": true
     }
    },
    {
     "allow_http": {
      "description": "Allow webhooks without TLS, where the network is trusted.",
      "type": "boolean",
      "default": false,
      "required": true
     }
    },
    {
     "allow_hosts": {
      "description": "Hosts of webhooks that may have a private or link-local address, by name.",
      "type": "array",
      "elements": {
       "type": "string",
       "len_min": 1,
       "len_max": 253
      },
      "len_min": 0,
      "len_max": 64,
      "default": [],
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "quarantine": {
   "description": "How many users may be deprovisioned at once.",
   "type": "record",
   "fields": [
    {
     "enabled": {
      "description": "Refuse (409) further requests that deactivate or delete users, or take ACL groups from them, once a limit is reached, until somebody decides with `kong-scim quarantine` (docs/safety.md).",
      "type": "boolean",
      "default": true,
      "required": true
     }
    },
    {
     "users": {
      "description": "How many users may be deactivated or deleted within `window`, whatever their share of the tenant is.",
      "type": "integer",
      "between": [
       1,
       1000000
      ],
      "default": 50,
      "required": true
     }
    },
    {
     "share": {
      "description": "The same limit in percent of the users who were active at the start of the `window`; it applies above `at_least` only.",
      "type": "integer",
      "between": [
       1,
       100
      ],
      "default": 20,
      "required": true
     }
    },
    {
     "at_least": {
      "description": "So many users may be deactivated or deleted whatever their share is, so that a small tenant can lose two. Never more than `users`.",
      "type": "integer",
      "between": [
       0,
       1000000
      ],
      "default": 10,
      "required": true
     }
    },
    {
     "memberships": {
      "description": "Most memberships of ACL groups that may be taken within `window` from people who stay, by emptying, deleting or renaming groups and by removing roles. Without a number: half of all memberships, and at least 100.",
      "type": "integer",
      "between": [
       1,
       100000000
      ]
     }
    },
    {
     "window": {
      "description": "Minutes for which a deprovisioned user counts, and for which an approval lifts the limits.",
      "type": "integer",
      "between": [
       1,
       10080
      ],
      "default": 60,
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "reconcile": {
   "description": "How often Kong is compared with what SCIM wants, and what then happens.",
   "type": "record",
   "fields": [
    {
     "every": {
      "description": "Minutes from the end of one pass over all users to the begin of the next (docs/drift.md); 0 for none. After a change of the mapping a pass begins at once.",
      "type": "integer",
      "between": [
       0,
       10080
      ],
      "default": 15,
      "required": true
     }
    },
    {
     "mode": {
      "description": "What a pass does about a difference between what SCIM wants and what Kong has: `report` it as an event and in the metrics, or `mend` it as well.",
      "type": "string",
      "len_min": 0,
      "one_of": [
       "report",
       "mend"
      ],
      "default": "report",
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "requests": {
   "description": "Which requests the provider log keeps.",
   "type": "record",
   "fields": [
    {
     "keep_days": {
      "description": "Days for which the provider log keeps each SCIM request with its status, its caller and the sentence of its error (`kong-scim requests`); at most 200,000 requests. 0: it keeps none.",
      "type": "integer",
      "between": [
       0,
       90
      ],
      "default": 7,
      "required": true
     }
    },
    {
     "keep_bodies": {
      "description": "Keep the first 4 KiB of the body of a request that failed, too. That is personal data: turn it on while you look for a fault. Passwords are taken out.",
      "type": "boolean",
      "default": false,
      "required": true
     }
    }
   ],
   "required": true
  }
 },
 {
  "dry_run": {
   "description": "Answer as if it had worked, and write nothing but an event that says what would have happened. Every answer carries `Kong-SCIM-Dry-Run: true`.",
   "type": "boolean",
   "default": false,
   "required": true
  }
 },
 {
  "max_body_size": {
   "description": "Largest request body, in bytes; a larger one is 413.",
   "type": "integer",
   "between": [
    1024,
    67108864
   ],
   "default": 1048576,
   "required": true
  }
 },
 {
  "max_results": {
   "description": "Most resources on one page.",
   "type": "integer",
   "between": [
    1,
    10000
   ],
   "default": 200,
   "required": true
  }
 },
 {
  "max_operations": {
   "description": "Most operations in one Bulk or PATCH request; more is 413.",
   "type": "integer",
   "between": [
    1,
    10000
   ],
   "default": 1000,
   "required": true
  }
 }
]
]==]) } },
  },
}
