/** Accounts, groups, policy, API keys and the audit log of the mock: enough rules for pages to have something to say. */

import { randomUUID } from 'node:crypto';
import { failure } from './failure.mjs';

const setting = (name, kind, fallback, wanted, meaning, words = []) => ({ name, kind, default: fallback, wanted, meaning, words });

const settings = [
  setting('session_limit', 'number', 10, 'a number from 0 to 10000', 'Sessions that a user may hold at once'),
  setting('workspace_session_limit', 'number', 10_000, 'a number from 0 to 10000', 'Sessions of one workspace that a user may hold at once'),
  setting('time_limit_s', 'number', 0, 'a number from 60 to 31622400, or 0', 'Seconds after its launch at which a session ends; 0: it may stay'),
  setting('idle_timeout_s', 'number', 0, 'a number from 60 to 31622400, or 0', 'Seconds without keys or pointer after which a session counts as idle; 0: never'),
  setting('idle_action', 'words', 'disconnect', 'disconnect or end', 'What follows when a session is idle: its viewer is disconnected, or it ends', ['disconnect', 'end']),
  setting('allowed_zones', 'zones', [], 'zones', 'Zones in which a user’s sessions may run; empty: any'),
  setting('zone_choice', 'switch', true, 'true or false', 'Whether a user may choose the zone of a launch'),
  setting('home_zone', 'zone', null, 'a zone', 'The zone in which a user’s sessions run when none is chosen'),
  setting('clipboard_in', 'switch', true, 'true or false', 'Whether text may be pasted into a workspace'),
  setting('clipboard_out', 'switch', true, 'true or false', 'Whether text may be copied out of a workspace'),
  setting('view_only', 'switch', false, 'true or false', 'Whether a user sees their sessions without keys, pointer and paste'),
  setting('persistent_home', 'switch', false, 'true or false', 'Whether a user’s home directory outlives the session'),
  setting('max_cpu', 'cores', 0, 'cores, or 0', 'Cores that one session may have at most; 0: as many as its workspace'),
  setting('max_memory_mb', 'number', 0, 'a number from 64 to 16777216, or 0', 'MiB of memory that one session may have at most; 0: as much as its workspace'),
  setting('network', 'words', 'full', 'none, internet or full', 'The freest network that a session may have', ['none', 'internet', 'full']),
];

const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const named = ({ id, name }) => ({ id, name });

export class People {
  constructor() {
    this.groups = [
      this.group('Administrators', 1, { system: 'administrators', description: 'May administer everything.' }),
      this.group('Guests', 20, {
        description: 'Visitors, who look and do not touch.',
        settings: { view_only: true, clipboard_out: false, session_limit: 1 },
        members: ['usr-ada'],
      }),
      this.group('Help desk', 30, { permissions: ['users:view', 'users:modify', 'sessions:view'], members: ['usr-grace'] }),
      this.group('Everyone', 1_000_000, { system: 'everyone', settings: { idle_timeout_s: 3600 } }),
    ];
    this.users = [
      this.user('admin', { role: 'admin' }),
      this.user('ada'),
      this.user('grace', { must_change_password: true }),
      this.user('margaret.with.a.name.that.is.rather.long@example.org', { locked: true }),
    ];
    this.keys = [
      this.key('ci', { permissions: ['zones:view', 'zones:modify'], zones: ['london'], last_used_at: ago(90), last_address: '203.0.113.7' }),
      this.key('old dashboards', { permissions: ['nodes:view', 'sessions:view', 'audit:view'], state: 'expired', expires_at: ago(86_400) }),
    ];
    this.audit = [];
    const by = this.users[0];
    this.note(by, 'login', 'admin', 'ok', {}, 7_300);
    this.note(null, 'login', 'ada', 'bad_credentials', {}, 5_000);
    this.note(by, 'update_group', 'Guests', 'ok', { settings: { view_only: true } }, 3_600);
    this.note(this.users[1], 'launch', 'Desktop', 'capacity', { zone: 'london', counts: { '0.5 core short': 2 } }, 600);
  }

  group(name, priority, { system = null, description = '', settings: decided = {}, permissions = [], members = [] } = {}) {
    return { id: `grp-${name.toLowerCase().replaceAll(' ', '-')}`, name, priority, system, description, settings: decided, permissions, memberIds: new Set(members), version: 1 };
  }

  user(name, extra = {}) {
    return { id: `usr-${name}`, name, role: 'user', disabled: false, locked: false, must_change_password: false, sessions: 0, created_at: ago(86_400 * 12), ...extra };
  }

  key(name, extra = {}) {
    return {
      id: `key-${randomUUID().slice(0, 8)}`,
      name,
      hint: `mk_${randomUUID().slice(0, 6)}`,
      user: { id: 'usr-admin', name: 'admin' },
      permissions: [],
      state: 'active',
      created_at: ago(86_400 * 3),
      expires_at: new Date(Date.now() + 86_400_000 * 80).toISOString(),
      last_used_at: null,
      last_address: '',
      zones: null,
      ...extra,
    };
  }

  note(user, action, target, outcome = 'ok', detail = {}, secondsAgo = 0) {
    this.audit.unshift({
      id: this.audit.length + 1,
      at: ago(secondsAgo),
      user: user && named(user),
      key: null,
      node: { id: 'nod-web-1', name: 'web-1' },
      action,
      target,
      outcome,
      detail,
      address: '198.51.100.4',
      request_id: `req-${randomUUID().slice(0, 8)}`,
    });
  }

  /** Of a user's groups, the one with the smallest number decides; each setting by itself. */
  policy(user) {
    const mine = this.groupsOf(user).sort((a, b) => a.priority - b.priority);
    return settings.map(({ name, default: fallback }) => {
      const group = mine.find((each) => name in each.settings);
      if (!group) return { setting: name, value: fallback, source: 'default', group: null };
      return { setting: name, value: group.settings[name], source: 'group', group: { ...named(group), priority: group.priority } };
    });
  }

  groupsOf(user) {
    return this.groups.filter((group) => group.system === 'everyone' || group.memberIds.has(user.id) || (group.system === 'administrators' && user.role === 'admin'));
  }

  userView(user) {
    const limit = this.policy(user).find((item) => item.setting === 'session_limit').value;
    const groups = this.groupsOf(user).filter((group) => group.system !== 'everyone').map(named);
    return { ...user, groups, session_limit: limit, session_limit_own: false, home_zone: user.home_zone ?? null };
  }

  groupView({ memberIds, ...group }) {
    const members = group.system === 'everyone' ? this.users.length : group.system === 'administrators' ? this.users.filter((user) => user.role === 'admin').length : memberIds.size;
    return { ...group, members };
  }

  membersOf(group) {
    if (group.system === 'administrators') return this.users.filter((user) => user.role === 'admin');
    return this.users.filter((user) => group.memberIds.has(user.id));
  }

  findUser(text) {
    return this.users.find((user) => user.id === text || user.name === text);
  }

  /** Answers what is about people; false for everything else. */
  answer({ me, method, path, query, body, send }) {
    const [resource, id, part, member] = path.slice(1).split('/').map(decodeURIComponent);
    const list = (items) => send(200, { items, next: null });
    const gone = (what) => send(404, failure('not_found', `There is no such ${what}.`, { hint: 'Somebody removed it, perhaps.' }));
    const wrong = (field, message) => send(422, failure('invalid', 'This cannot be as it was sent.', { fields: [{ field, message }] }));
    switch (`${method} ${resource}${id === undefined ? '' : '/'}${part === undefined ? '' : `/${part}`}`) {
      case 'GET policy/':
        return list(settings);
      case 'POST auth/':
        if (id !== 'password') return false;
        if (body.current_password === 'wrong') return send(403, failure('wrong_password', 'The current password is wrong', { fields: [{ field: 'current_password', message: 'The current password is wrong' }] }));
        me.must_change_password = false;
        return send(204);
      case 'GET users':
        return list(this.users.filter((user) => user.name.includes(query.get('search') ?? '')).map((user) => this.userView(user)));
      case 'POST users': {
        if (body.username === '') return wrong('username', 'must have 1 to 64 characters');
        if (body.password.length < 8) return wrong('password', 'must have 8 characters or more');
        if (this.findUser(body.username)) return send(409, failure('taken', 'There is a user of that name.', { fields: [{ field: 'username', message: 'is taken' }] }));
        const user = this.user(body.username, { role: body.role, must_change_password: body.must_change_password, created_at: ago(0) });
        this.users.push(user);
        this.note(me, 'create_user', user.name, 'ok', { role: user.role });
        return send(201, this.userView(user));
      }
      case 'GET users//policy': {
        const user = this.findUser(id) ?? (id === me.id ? me : undefined);
        return user ? send(200, { user: named(user), items: this.policy(user) }) : gone('user');
      }
      case 'PATCH users/': {
        const user = this.findUser(id);
        if (!user) return gone('user');
        if (body.name === '') return wrong('name', 'must have 1 to 64 characters');
        if (body.password !== undefined && body.password.length < 8) return wrong('password', 'password must have 8 characters or more, and at most 1024 bytes');
        if (body.session_limit > 10_000) return wrong('session_limit', 'session_limit must be between 0 and 10000');
        const changes = { ...body };
        delete changes.password;
        Object.assign(user, changes);
        this.note(me, 'update_user', user.name, 'ok', changes);
        return send(200, this.userView(user));
      }
      case 'DELETE users/':
        this.users = this.users.filter((user) => user.id !== id);
        this.note(me, 'delete_user', id);
        return send(204);
      case 'GET groups':
        return list(this.groups.map((group) => this.groupView(group)).sort((a, b) => a.priority - b.priority));
      case 'POST groups': {
        if (body.name === '') return wrong('name', 'must have 1 to 64 characters');
        const group = this.group(body.name, body.priority);
        this.groups.push(group);
        this.note(me, 'create_group', group.name, 'ok', { priority: group.priority });
        return send(201, this.groupView(group));
      }
      case 'GET api-keys':
        return list(this.keys);
      case 'POST api-keys': {
        if (body.name === '') return wrong('name', 'must have 1 to 64 characters');
        if (body.permissions.length === 0) return wrong('permissions', 'must name at least one');
        const key = this.key(body.name, { ...body, user: named(me), created_at: ago(0) });
        this.keys.unshift(key);
        this.note(me, 'create_key', key.name, 'ok', { permissions: key.permissions });
        return send(201, { ...key, token: `${key.hint}_${randomUUID()}` });
      }
      case 'DELETE api-keys/': {
        const key = this.keys.find((each) => each.id === id);
        if (!key) return gone('key');
        key.state = 'revoked';
        this.note(me, 'revoke_key', key.name);
        return send(204);
      }
      case 'GET audit': {
        const fits = (entry) => ['action', 'target', 'outcome'].every((field) => entry[field].includes(query.get(field) ?? ''));
        const who = query.get('user');
        const key = query.get('key');
        const from = Date.parse(query.get('since') ?? '1970-01-01');
        const until = Date.parse(query.get('until') ?? '9999-12-31');
        const within = ({ at }) => Date.parse(at) >= from && Date.parse(at) < until;
        return list(this.audit.filter((entry) => fits(entry) && within(entry) && (!who || entry.user?.name === who) && (!key || entry.key?.name === key)));
      }
    }
    const group = resource === 'groups' ? this.groups.find((each) => each.id === id) : undefined;
    if (!group) return false;
    if (part === 'members') {
      if (member === undefined) return list(this.membersOf(group).map(named));
      const user = this.findUser(member);
      if (!user) return gone('user');
      if (method === 'PUT') group.memberIds.add(user.id);
      else group.memberIds.delete(user.id);
      this.note(me, method === 'PUT' ? 'add_member' : 'remove_member', group.name, 'ok', { user: user.name });
      return send(204);
    }
    if (method === 'DELETE') {
      this.groups = this.groups.filter((each) => each !== group);
      this.note(me, 'delete_group', group.name);
      return send(204);
    }
    if (method !== 'PATCH') return false;
    const { settings: decided = {}, ...changes } = body;
    for (const [name, value] of Object.entries(decided)) {
      if (name.endsWith('_limit') && value > 10_000) return wrong(`settings.${name}`, 'must be a number from 0 to 10000');
      if (value === null) delete group.settings[name];
      else group.settings[name] = value;
    }
    Object.assign(group, changes, { version: group.version + 1 });
    this.note(me, 'update_group', group.name, 'ok', body);
    return send(200, this.groupView(group));
  }
}
