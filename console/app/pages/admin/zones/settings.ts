/**
 * A zone's settings as a form has them: every one by the name that the API and the zone's file use, what it means, and which
 * group of the form it belongs to. A list or labels are one line of text.
 */

import type { Zone, ZonePatch } from '../../../api/types';
import { labelsOf, listOf, textOfLabels } from '../listText';

export interface ZoneForm {
  zone_name: string;
  load_strategy: string;
  prioritize_static_agents: boolean;
  labels: string;
  search_alternate_zones: boolean;
  alternate_zones: string;
  isolated: boolean;
  proxy_hostname: string;
  proxy_port: number | '';
  proxy_alternates: string;
  proxy_path: string;
  allow_origin_domain: string;
  proxy_connections: boolean;
  upstream_auth_address: string;
  private_balancer: string;
  home_storage: string;
  outage_grace: number | '';
  image_policy: string;
}

export type Field = keyof ZoneForm;

interface Setting {
  field: Field;
  /** What it means to somebody who sets it for the first time. */
  meaning: string;
}

export interface Part {
  title: string;
  settings: Setting[];
}

export const imagePolicies = ['elsewhere', 'wait'] as const;

export const strategies = ['least_load', 'most_load', 'least_sessions', 'most_sessions', 'round_robin'] as const;

export const parts: Part[] = [
  {
    title: 'Name and placement',
    settings: [
      { field: 'zone_name', meaning: 'How addresses and commands call it. A rename disturbs nothing that runs.' },
      { field: 'load_strategy', meaning: 'Which of the agents that fit gets the next workspace.' },
      { field: 'prioritize_static_agents', meaning: 'Agents that stay are filled before those that come and go with demand.' },
      { field: 'image_policy', meaning: 'Where an agent lacks the image: go to one that has it (elsewhere), or wait until it is loaded (wait). What a workspace says itself goes before it.' },
      { field: 'labels', meaning: 'What all its agents have, unless one says otherwise: disk=fast, rack=7.' },
    ],
  },
  {
    title: 'When it is full',
    settings: [
      {
        field: 'search_alternate_zones',
        meaning:
          'Workspaces that find no place here are placed in another zone; off: they are refused. Whoever came here only because it is the nearest goes on to the next nearest with room whatever this says, since no zone was decided for yet. Where somebody chose it, or calls it home, this holds.',
      },
      { field: 'alternate_zones', meaning: 'Which zones are asked then, in this order; empty: any that is not isolated.' },
      { field: 'isolated', meaning: 'It neither lends nor borrows, whatever fails. Its users then get a capacity error that says so.' },
    ],
  },
  {
    title: 'How browsers reach it',
    settings: [
      { field: 'proxy_hostname', meaning: 'Host name of its streams. $request_host$: the host that the page came from.' },
      { field: 'proxy_port', meaning: 'Port of its streams; 0: the port of the page.' },
      { field: 'proxy_alternates', meaning: 'Further ways in, host or host:port, which a page tries in this order when the first cannot be reached.' },
      { field: 'proxy_path', meaning: 'Path of its streams, by which something in front can tell the zones apart.' },
      { field: 'allow_origin_domain', meaning: 'The page that may open streams here; every other page is refused.' },
      { field: 'proxy_connections', meaning: 'Streams go through its proxies; off: straight to the agents.' },
    ],
  },
  {
    title: 'Behind it',
    settings: [
      {
        field: 'upstream_auth_address',
        meaning: "Where it asks whether a connection may pass: the primary's public name, not one node. Empty: as each proxy's file says.",
      },
      { field: 'private_balancer', meaning: 'host:port between Web App, proxies and agents; empty: nodes are dialled at their own addresses.' },
      { field: 'home_storage', meaning: 'Path at which all its agents reach one storage, for homes that outlive sessions; empty: homes stay on the agent that made them.' },
      { field: 'outage_grace', meaning: 'Seconds for which streams come back without the control plane; 0: not at all.' },
    ],
  },
];

/** What a new zone is, until something else is said. */
export const fresh: ZoneForm = {
  zone_name: '',
  load_strategy: 'least_load',
  prioritize_static_agents: true,
  labels: '',
  search_alternate_zones: false,
  alternate_zones: '',
  isolated: false,
  proxy_hostname: '$request_host$',
  proxy_port: 0,
  proxy_alternates: '',
  proxy_path: 'desktop',
  allow_origin_domain: '$request_host$',
  proxy_connections: true,
  upstream_auth_address: '',
  private_balancer: '',
  home_storage: '',
  outage_grace: 86_400,
  image_policy: 'elsewhere',
};

export function formOf(zone: Zone): ZoneForm {
  return {
    zone_name: zone.zone_name,
    load_strategy: zone.load_strategy ?? fresh.load_strategy,
    prioritize_static_agents: zone.prioritize_static_agents ?? fresh.prioritize_static_agents,
    labels: textOfLabels(zone.labels ?? {}),
    search_alternate_zones: zone.search_alternate_zones ?? fresh.search_alternate_zones,
    alternate_zones: (zone.alternate_zones ?? []).join(', '),
    isolated: zone.isolated ?? fresh.isolated,
    proxy_hostname: zone.proxy_hostname ?? fresh.proxy_hostname,
    proxy_port: zone.proxy_port ?? fresh.proxy_port,
    proxy_alternates: (zone.proxy_alternates ?? []).join(', '),
    proxy_path: zone.proxy_path ?? fresh.proxy_path,
    allow_origin_domain: zone.allow_origin_domain ?? fresh.allow_origin_domain,
    proxy_connections: zone.proxy_connections ?? fresh.proxy_connections,
    upstream_auth_address: zone.upstream_auth_address ?? fresh.upstream_auth_address,
    private_balancer: zone.private_balancer ?? fresh.private_balancer,
    home_storage: zone.home_storage ?? fresh.home_storage,
    outage_grace: zone.outage_grace ?? fresh.outage_grace,
    image_policy: zone.image_policy ?? fresh.image_policy,
  };
}

/** What of the form the server is told: only what differs from what is. */
export function patchOf(form: ZoneForm, before: ZoneForm): ZonePatch {
  const changed = (Object.keys(form) as Field[]).filter((field) => form[field] !== before[field]);
  const value = (field: Field) => {
    if (field === 'alternate_zones' || field === 'proxy_alternates') return listOf(form[field]);
    if (field === 'labels') return labelsOf(form.labels) ?? {};
    return typeof form[field] === 'string' ? form[field].trim() : form[field];
  };
  return Object.fromEntries(changed.map((field) => [field, value(field)]));
}
