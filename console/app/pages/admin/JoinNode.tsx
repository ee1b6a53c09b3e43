import { Button, Code, NativeSelect, Stack } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { useEnroll } from '../../api/deployment';
import { asProblem } from '../../api/problem';
import { useZones } from '../../api/queries';
import type { Node } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShownOnce } from '../../ui/ShownOnce';

const roles: { value: Node['role']; label: string }[] = [
  { value: 'agent', label: 'Agent: runs workspaces' },
  { value: 'proxy', label: 'Proxy: relays streams' },
  { value: 'balance', label: 'Load balancer: routes between nodes' },
];

/** A token with which one node joins a zone. */
export function JoinNode({ onDone }: { onDone: () => void }) {
  const zones = useZones().data ?? [];
  const enroll = useEnroll();
  const [role, setRole] = useState<Node['role']>('agent');
  const [zone, setZone] = useState('');
  const wanted = zone === '' ? (zones[0]?.zone_name ?? '') : zone;
  const problem = enroll.error ? asProblem(enroll.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    enroll.mutate({ role, zone: wanted });
  };
  if (enroll.data) {
    const minutes = Math.round(enroll.data.expires_in_s / 60);
    return (
      <ShownOnce secret={enroll.data.token} title="Copy the token now" onDone={onDone}>
        It lets one {enroll.data.role} join {enroll.data.zone} within {minutes} minutes, and is not shown again. Put it into the file that the
        node&apos;s configuration names as <Code>enroll_token_file</Code>.
      </ShownOnce>
    );
  }
  return (
    <form onSubmit={submit} noValidate>
      <Stack>
        <NativeSelect
          label="Role"
          data={roles}
          value={role}
          onChange={(event) => setRole(event.currentTarget.value as Node['role'])}
          error={problem?.at('role')}
          data-autofocus
        />
        <NativeSelect
          label="Zone"
          data={zones.map((each) => each.zone_name)}
          value={wanted}
          onChange={(event) => setZone(event.currentTarget.value)}
          error={problem?.at('zone')}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Button type="submit" loading={enroll.isPending}>
          Make the token
        </Button>
      </Stack>
    </form>
  );
}
