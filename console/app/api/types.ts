/**
 * Names for the parts of the API that the console speaks of, all derived from the generated schema. Where the schema has a
 * plain string for one of a few words, the words are given here; the server is of the console's own release, or of one next to
 * it during an upgrade.
 */

import type { components } from './schema';

type Schemas = components['schemas'];

/** The schema calls what may be null optional; the server always writes it, as null. */
type Written<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

export type Candidate = Schemas['CandidateView'];
export type Connect = Schemas['ConnectView'];
/** A server of the release before names no zones. */
export type Explanation = Omit<Written<Schemas['ExplanationView']>, 'zones'> & { zones?: TriedZone[] };
/** Who is signed in. A server of the release before says nothing of permissions: see `may`. */
export type Me = Schemas['UserView'];

export type Workspace = Omit<Schemas['WorkspaceView'], 'network'> & { network: 'none' | 'internet' | 'full' };
export type WorkspacePatch = Schemas['WorkspacePatch'];
export type NewWorkspace = Schemas['NewWorkspace'];

export type SessionState = 'starting' | 'running' | 'paused' | 'unreachable' | 'ending' | 'ended' | 'failed' | 'lost';
export type ProgressStep = 'reserved' | 'pushed' | 'image' | 'container' | 'display' | 'ready';
/** Somebody asks to look on at a session, or does. */
export type Watch = Omit<Written<Schemas['WatchView']>, 'state'> & {
  state: 'asked' | 'allowed' | 'declined' | 'expired' | 'withdrawn' | 'ended';
};
/** Why a session stands still, and what to do about it. */
export type Frozen = Written<Schemas['FrozenView']>;
export type Session = Omit<Written<Schemas['SessionView']>, 'state' | 'progress' | 'watches' | 'frozen'> & {
  state: SessionState;
  /** Null where it does not; a server of the release before does not say. */
  frozen?: Frozen | null;
  /** A server of the release before does not say. */
  watches?: Watch[];
  progress: Omit<Written<Schemas['ProgressView']>, 'step'> & { step: ProgressStep };
};

/** What outlives the sessions of one person and workspace. */
export type Home = Omit<Written<Schemas['HomeView']>, 'gone'> & { gone: 'user' | 'workspace' | null };

/** Only administrators are shown a zone's settings. A server of the release before names no `probe`. */
export type ZoneSettings = Written<Schemas['ZoneSettingsView']>;
export type Zone = { id: string; name: string; zone_name: string; default: boolean; probe?: string } & Partial<ZoneSettings>;
export type ZonePatch = Schemas['ZonePatch'];
export type Requirements = Written<Schemas['RequirementsView']>;
/** What moving people to another zone did, or would do. */
export type Moved = Written<Schemas['ReassignedView']>;
export type Move = Written<Schemas['ReassignmentView']>;
export type ZoneDeletion = Schemas['ZoneDeletionView'];

export type TriedZone = Schemas['TriedZoneView'];
export type ZoneChoice = Schemas['ZoneChoiceView'];
/** What would become of a launch, and what became of one that was refused. */
export type Preview = Written<Schemas['PreviewView']>;
export type Refusal = Written<Schemas['RefusalView']>;

/** A server of the release before says nothing of what may be promised. */
export type Node = Omit<Written<Schemas['NodeView']>, 'role' | 'state' | 'capacity'> & {
  capacity?: Schemas['CapacityView'];
  role: 'web' | 'proxy' | 'agent' | 'balance' | 'connect';
  state: 'enrolled' | 'ready' | 'draining' | 'unreachable';
};

export type NodePatch = Schemas['NodePatch'];
/** What still keeps a node that is to be removed. */
export type NodeRemoval = Schemas['NodeRemovalView'];

/** How an image stands on an agent. */
export type ImageCell = Omit<Written<Schemas['ImageCellView']>, 'state'> & {
  state: 'absent' | 'queued' | 'pulling' | 'present' | 'failed';
};
/** One image in one zone, agent by agent. */
export type ZoneHealth = Schemas['ZoneHealthView'];

export type ImageRow = Omit<Written<Schemas['ImageRowView']>, 'agents'> & { agents: ImageCell[] };
export type RegistryLogin = Schemas['RegistryLoginView'];

/** With the token that is shown once. */
export type Enrollment = Schemas['EnrollmentView'];

/** A server of the release before says nothing of an account's own home zone. */
export type User = Omit<Written<Schemas['UserRowView']>, 'home_zone'> & { home_zone?: string | null };
export type Group = Written<Omit<Schemas['GroupView'], 'settings'>> & { settings: Record<string, SettingValue> };
export type Named = Schemas['NamedView'];
export type PolicyItem = Omit<Written<Schemas['PolicyItemView']>, 'value'> & { value: SettingValue };
export type ApiKey = Written<Schemas['ApiKeyView']>;
export type NewApiKey = ApiKey & { token: string };
export type AuditEntry = Written<Schemas['AuditView']>;

/** What a setting of a policy may be. */
export type SettingValue = string | number | boolean | string[] | null;
export type Setting = Omit<Written<Schemas['SettingView']>, 'kind' | 'default'> & {
  kind: 'switch' | 'number' | 'cores' | 'words' | 'zone' | 'zones';
  default: SettingValue;
};

export interface Page<T> {
  items: T[];
  /** The cursor of the page after this one. */
  next?: string | null;
}
