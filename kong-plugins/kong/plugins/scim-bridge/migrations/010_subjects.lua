-- The subjects of tokens that are refused, an entity of Kong's (daos.lua).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_subjects (
	id UUID PRIMARY KEY,
	created_at TIMESTAMP WITH TIME ZONE,
	subject TEXT NOT NULL,
	tenant TEXT NOT NULL,
	"user" TEXT NOT NULL,
	not_before BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	ws_id UUID REFERENCES workspaces (id),
	UNIQUE (id, ws_id),
	UNIQUE (ws_id, subject)
);
    ]],
  },
}
