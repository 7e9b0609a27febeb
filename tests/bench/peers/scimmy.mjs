// SCIMMY with scimmy-routers on Express, over a Map with an index on userName: `node scimmy.mjs PORT`.

import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const users = new Map();
const groups = new Map();
const idByUserName = new Map();

/** Returns the value that a filter compares userName with, or undefined for any other filter. */
function userNameOf(filter) {
  const expressions = filter === undefined ? [] : [...filter];
  const [operator, value] = expressions[0]?.userName ?? [];
  return expressions.length === 1 && Object.keys(expressions[0]).length === 1 && operator === "eq"
    ? String(value).toLowerCase()
    : undefined;
}

function stored(resources, id) {
  const found = resources.get(id);
  if (found === undefined) {
    throw new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
  }
  return found;
}

function withMeta(resource, before) {
  const now = new Date().toISOString();
  return { ...resource, meta: { created: before?.meta.created ?? now, lastModified: now } };
}

SCIMMY.Resources.declare(SCIMMY.Resources.User, {
  ingress(resource, data) {
    const id = resource.id ?? randomUUID();
    const before = resource.id === undefined ? undefined : stored(users, id);
    const name = data.userName.toLowerCase();
    const owner = idByUserName.get(name);
    if (owner !== undefined && owner !== id) {
      throw new SCIMMY.Types.Error(409, "uniqueness", "userName is taken");
    }
    if (before !== undefined) {
      idByUserName.delete(before.userName.toLowerCase());
    }
    const user = withMeta({ ...JSON.parse(JSON.stringify(data)), id }, before);
    users.set(id, user);
    idByUserName.set(name, id);
    return user;
  },
  egress(resource) {
    if (resource.id !== undefined) {
      return stored(users, resource.id);
    }
    const name = userNameOf(resource.filter);
    if (name !== undefined) {
      const found = users.get(idByUserName.get(name));
      return found === undefined ? [] : [found];
    }
    const all = [...users.values()];
    return resource.filter === undefined ? all : resource.filter.match(all);
  },
  degress(resource) {
    idByUserName.delete(stored(users, resource.id).userName.toLowerCase());
    users.delete(resource.id);
  },
});

SCIMMY.Resources.declare(SCIMMY.Resources.Group, {
  ingress(resource, data) {
    const id = resource.id ?? randomUUID();
    const before = resource.id === undefined ? undefined : stored(groups, id);
    const group = withMeta({ ...JSON.parse(JSON.stringify(data)), id }, before);
    groups.set(id, group);
    return group;
  },
  egress(resource) {
    if (resource.id !== undefined) {
      return stored(groups, resource.id);
    }
    const all = [...groups.values()];
    return resource.filter === undefined ? all : resource.filter.match(all);
  },
  degress(resource) {
    stored(groups, resource.id);
    groups.delete(resource.id);
  },
});

// A group of 10,000 members has more than the 1 MB that scimmy-routers takes by default.
SCIMMY.Config.set({ bulk: { supported: true, maxPayloadSize: 64 * 1024 * 1024, maxOperations: 1000 } });

const application = express();
application.use("/v2", new SCIMMYRouters({
  type: "bearer",
  handler(request) {
    if (request.header("Authorization") !== `Bearer ${process.env.TOKEN}`) {
      throw new Error("Authorization not detected!");
    }
    return "bench";
  },
}));

application.listen(Number(process.argv[2]), "127.0.0.1");
