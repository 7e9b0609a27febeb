return {
  "000_base_scim_bridge",
  "001_outbox",
  "002_trail",
  "003_deliveries",
  "004_quarantine",
  "005_callers",
  "006_logins",
  "007_names",
  "008_drift",
  "009_requests",
  "010_subjects",
}
