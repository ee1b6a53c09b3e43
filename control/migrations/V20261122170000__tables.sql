-- The control plane's tables. Forward only; a change expands first, then moves data, then contracts, a release apart.
--
-- Locks are taken in one order everywhere: users, nodes, sessions.

CREATE TABLE deployment (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id             uuid NOT NULL,
    -- Rises at each promotion or restore of this database.
    control_epoch  bigint NOT NULL DEFAULT 1,
    -- A known text sealed by the master key: a wrong key is noticed at start.
    seal_check     bytea NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE authority (
    singleton        boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    certificate_pem  text NOT NULL,
    sealed_key       bytea NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE signing_keys (
    id            uuid PRIMARY KEY,
    public_x      text NOT NULL,
    sealed_pkcs8  bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    retired_at    timestamptz
);

CREATE TABLE users (
    id             uuid PRIMARY KEY,
    name           text NOT NULL CHECK (name <> '' AND length(name) <= 128),
    password_hash  text NOT NULL,
    role           text NOT NULL CHECK (role IN ('admin', 'user')),
    session_limit  integer NOT NULL DEFAULT 10 CHECK (session_limit >= 0),
    -- Counter column: sessions that hold a reservation.
    sessions_used  integer NOT NULL DEFAULT 0 CHECK (sessions_used >= 0),
    disabled_at    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

-- A login is one signed-in browser or API client. Only the hash of its token is stored.
CREATE TABLE logins (
    token_hash  bytea PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX logins_user ON logins (user_id);
CREATE INDEX logins_expiry ON logins (expires_at);

-- Failed sign-ins: per address ('address:…'), per account and address ('pair:…'), and per account ('account:…').
CREATE TABLE throttles (
    key            text PRIMARY KEY,
    attempts       integer NOT NULL,
    counted_since  timestamptz NOT NULL DEFAULT now(),
    blocked_until  timestamptz
);

CREATE TABLE zones (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    position    integer GENERATED ALWAYS AS IDENTITY,
    -- All but the alternates, which are names to whoever asks, and must stay who they are when one is renamed.
    settings    jsonb NOT NULL CHECK (NOT settings ? 'alternate_zones'),
    -- In order; empty: any.
    alternates  uuid[] NOT NULL DEFAULT '{}',
    -- Rises with each change; nodes of the zone learn of it.
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nodes (
    id               uuid PRIMARY KEY,
    name             text NOT NULL UNIQUE,
    role             text NOT NULL CHECK (role IN ('web', 'proxy', 'agent', 'connect', 'balance')),
    zone_id          uuid REFERENCES zones,
    address          text NOT NULL DEFAULT '',
    public_point     bytea NOT NULL,
    version          text NOT NULL DEFAULT '',
    draining         boolean NOT NULL DEFAULT false,
    last_seen_at     timestamptz,
    enrolled_at      timestamptz NOT NULL DEFAULT now(),
    removed_at       timestamptz,
    -- What an agent may promise and has promised; counter columns.
    cpu_total        bigint NOT NULL DEFAULT 0,
    memory_total     bigint NOT NULL DEFAULT 0,
    cpu_used         bigint NOT NULL DEFAULT 0 CHECK (cpu_used >= 0),
    memory_used      bigint NOT NULL DEFAULT 0 CHECK (memory_used >= 0),
    sessions_used    bigint NOT NULL DEFAULT 0 CHECK (sessions_used >= 0),
    last_placed      bigint NOT NULL DEFAULT 0,
    -- Number of the node's desired state; each change of a session on it takes the next.
    desired_version  bigint NOT NULL DEFAULT 0,
    report           jsonb NOT NULL DEFAULT '{}',
    problems         jsonb NOT NULL DEFAULT '[]',
    CHECK ((role = 'web') = (zone_id IS NULL))
);
CREATE INDEX nodes_zone ON nodes (zone_id, role);

CREATE SEQUENCE placements;

CREATE TABLE node_images (
    node_id    uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
    reference  text NOT NULL,
    image_id   text NOT NULL,
    PRIMARY KEY (node_id, reference)
);

CREATE TABLE enrollments (
    token_hash  bytea PRIMARY KEY,
    role        text NOT NULL,
    zone_id     uuid REFERENCES zones,
    created_by  uuid REFERENCES users,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    node_id     uuid
);

CREATE TABLE workspaces (
    id           uuid PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name <> '' AND length(name) <= 128),
    description  text NOT NULL DEFAULT '',
    icon         text NOT NULL DEFAULT 'desktop',
    image        text NOT NULL,
    cpu_milli    bigint NOT NULL CHECK (cpu_milli > 0),
    memory_mb    bigint NOT NULL CHECK (memory_mb > 0),
    gpu          integer NOT NULL DEFAULT 0,
    network      text NOT NULL DEFAULT 'none' CHECK (network IN ('none', 'internet', 'full')),
    seccomp      text NOT NULL DEFAULT 'default' CHECK (seccomp IN ('default', 'chromium')),
    shm_mb       bigint NOT NULL DEFAULT 64,
    home_mb      bigint NOT NULL DEFAULT 1024,
    tmp_mb       bigint NOT NULL DEFAULT 256,
    pids_limit   bigint NOT NULL DEFAULT 512,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    id                uuid PRIMARY KEY,
    user_id           uuid NOT NULL REFERENCES users,
    workspace_id      uuid NOT NULL REFERENCES workspaces,
    zone_id           uuid NOT NULL REFERENCES zones,
    node_id           uuid NOT NULL REFERENCES nodes,
    state             text NOT NULL CHECK (state IN
        ('starting', 'running', 'paused', 'unreachable', 'ending', 'ended', 'failed', 'lost')),
    -- What the agent is told: run, or end (the tombstone).
    desired           text NOT NULL CHECK (desired IN ('run', 'end')),
    epoch             bigint NOT NULL,
    generation        bigint NOT NULL DEFAULT 1,
    desired_version   bigint NOT NULL,
    -- Whether user and node still count it; released exactly once.
    reserved          boolean NOT NULL DEFAULT true,
    cpu_milli         bigint NOT NULL,
    memory_mb         bigint NOT NULL,
    spec              jsonb NOT NULL,
    -- A launch that is repeated with this key gets this session, if it asks for the same; for a day.
    idempotency_key   text,
    requested_zone    text,
    progress_step     text NOT NULL DEFAULT 'reserved',
    progress_message  text NOT NULL DEFAULT '',
    progress_percent  integer,
    reason            text,
    explanation       jsonb NOT NULL,
    -- Streams opened with grants older than this are cut.
    cut_before        timestamptz,
    -- When the tombstone was carried out by the agent.
    gone_at           timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    started_at        timestamptz,
    ended_at          timestamptz
);
CREATE UNIQUE INDEX sessions_idempotency ON sessions (user_id, idempotency_key);
CREATE INDEX sessions_of_user ON sessions (user_id, id) WHERE state NOT IN ('ended', 'failed', 'lost');
CREATE INDEX sessions_of_node ON sessions (node_id, desired_version);
CREATE INDEX sessions_live ON sessions (id) WHERE state NOT IN ('ended', 'failed', 'lost');
-- What the counter columns stand for: few rows, however long the history is.
CREATE INDEX sessions_reserved ON sessions (node_id) WHERE reserved;
-- Every heartbeat is answered with the zone's revocations: these two find them without the history.
CREATE INDEX sessions_cut ON sessions (zone_id) WHERE cut_before IS NOT NULL AND state NOT IN ('ended', 'failed', 'lost');
CREATE INDEX sessions_over ON sessions (zone_id, ended_at) WHERE state IN ('ended', 'failed', 'lost');
-- What is over its time of keeping.
CREATE INDEX sessions_age ON sessions (ended_at) WHERE state IN ('ended', 'failed', 'lost');
CREATE INDEX sessions_keyed ON sessions (created_at) WHERE idempotency_key IS NOT NULL;

CREATE TABLE ticket_uses (
    ticket_id   uuid PRIMARY KEY,
    proxy_id    uuid NOT NULL,
    nonce       text NOT NULL,
    grant_id    uuid NOT NULL,
    granted_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ticket_uses_age ON ticket_uses (granted_at);

CREATE TABLE audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    user_id     uuid,
    node_id     uuid,
    action      text NOT NULL,
    target      text NOT NULL DEFAULT '',
    outcome     text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',
    address     text NOT NULL DEFAULT '',
    request_id  text NOT NULL DEFAULT ''
);
CREATE INDEX audit_at ON audit (at);
