-- Test only. It stands for the consumer groups of Kong Enterprise, on an open-source Kong: its DAOs have the
-- names, fields and keys of the published schema. It does nothing else.

return { PRIORITY = 1, VERSION = "0.1.0" }
