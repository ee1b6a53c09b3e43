/** Names for the parts of the API that the console speaks of. All of them come from the generated schema. */

import type { components } from './schema';

type Schemas = components['schemas'];

export type Candidate = Schemas['Candidate'];
export type Connect = Schemas['ConnectAnswer'];
export type Explanation = Schemas['Explanation'];
export type Me = Schemas['Me'];
export type Node = Schemas['Node'];
export type ProgressStep = Schemas['ProgressStep'];
export type Session = Schemas['Session'];
export type SessionState = Schemas['SessionState'];
export type Workspace = Schemas['Workspace'];
export type Zone = Schemas['Zone'];
