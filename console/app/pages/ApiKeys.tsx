import { Badge, Button, Checkbox, Code, Input, NumberInput, Stack, Switch, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { OWN_SESSIONS, may, permissions } from '../api/permissions';
import { useApiKeys, useCreateKey, useRevokeKey } from '../api/people';
import { asProblem } from '../api/problem';
import { useMe } from '../api/queries';
import type { ApiKey } from '../api/types';
import { DataTable } from '../ui/DataTable';
import { Empty } from '../ui/Empty';
import { PageHead } from '../ui/PageHead';
import { PageSkeleton } from '../ui/PageSkeleton';
import { PermissionGrid } from '../ui/PermissionGrid';
import { ProblemNote } from '../ui/ProblemNote';
import { ShowMore } from '../ui/ShowMore';
import { ShownOnce } from '../ui/ShownOnce';
import { SidePanel } from '../ui/SidePanel';
import { When } from '../ui/When';
import { useConfirm } from '../ui/useConfirm';
import { useTitle } from '../ui/useTitle';

export default function ApiKeys() {
  useTitle('API keys');
  const me = useMe().data ?? null;
  const [all, setAll] = useState(false);
  const keys = useApiKeys(all);
  const items = keys.data?.pages.flatMap((page) => page.items) ?? [];
  const revoke = useRevokeKey();
  const { ask, dialog } = useConfirm();
  const [making, setMaking] = useState(false);
  return (
    <Stack>
      <PageHead title="API keys">
        {may(me, 'users:view') && (
          <Switch label="Everybody's" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} />
        )}
        <Button onClick={() => setMaking(true)}>New key</Button>
      </PageHead>
      {keys.isError && <ProblemNote error={keys.error} onRetry={() => void keys.refetch()} />}
      {revoke.isError && <ProblemNote error={revoke.error} />}
      {keys.isPending && <PageSkeleton />}
      {keys.data && items.length === 0 && (
        <Empty title="No keys">A key lets a program act for you, with as few permissions as it needs.</Empty>
      )}
      {items.length > 0 && (
        <DataTable
          caption="API keys"
          rows={items}
          rowKey={(key) => key.id}
          columns={[
            { label: 'Key', render: (key) => <strong>{key.name}</strong> },
            { label: 'Begins with', render: (key) => <Code>{key.hint}…</Code> },
            { label: 'Whose', render: (key) => key.user.name },
            { label: 'State', render: (key) => <State state={key.state} /> },
            { label: 'May', render: (key) => key.permissions.map(words).join(', ') },
            { label: 'Zones', render: (key) => key.zones?.join(', ') ?? 'all' },
            { label: 'Expires', render: (key) => <When at={key.expires_at} /> },
            { label: 'Last used', render: (key) => <When at={key.last_used_at} /> },
            {
              label: 'Revoke',
              render: (key) =>
                key.state === 'active' && (
                  <Button
                    size="compact-sm"
                    variant="light"
                    color="red"
                    aria-label={`Revoke ${key.name}`}
                    onClick={() =>
                      ask({
                        title: `Revoke ${key.name}?`,
                        text: 'Programs that use it are refused at once. It cannot be brought back.',
                        action: 'Revoke',
                        onConfirm: () => revoke.mutate(key.id),
                      })
                    }
                  >
                    Revoke
                  </Button>
                ),
            },
          ]}
        />
      )}
      <ShowMore list={keys} />
      <SidePanel opened={making} onClose={() => setMaking(false)} title="New key">
        {making && <NewKey onDone={() => setMaking(false)} />}
      </SidePanel>
      {dialog}
    </Stack>
  );
}

function words(permission: string): string {
  return permission === OWN_SESSIONS ? 'own sessions' : permission;
}

function State({ state }: { state: ApiKey['state'] }) {
  return (
    <Badge variant="light" radius="sm" tt="none" color={state === 'active' ? 'teal' : 'gray'}>
      {state}
    </Badge>
  );
}

function NewKey({ onDone }: { onDone: () => void }) {
  const me = useMe().data ?? null;
  const create = useCreateKey();
  const [name, setName] = useState('');
  const [days, setDays] = useState(90);
  const [wanted, setWanted] = useState<string[]>([]);
  const [zones, setZones] = useState('');
  const givable = permissions.filter((permission) => may(me, permission));
  const problem = create.error ? asProblem(create.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const named = zones.split(',').map((zone) => zone.trim()).filter(Boolean);
    create.mutate({ name, permissions: wanted, expires_in_days: days, zones: named.length > 0 ? named : null });
  };
  if (create.data) {
    return (
      <ShownOnce secret={create.data.token} title="Copy the key now" onDone={onDone}>
        It is not shown again. Whoever has it can do what it may.
      </ShownOnce>
    );
  }
  return (
    <form onSubmit={submit} noValidate>
      <Stack>
        <TextInput
          label="Name"
          description="What it is for"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={problem?.at('name')}
          data-autofocus
        />
        <NumberInput
          label="Expires in days"
          min={1}
          max={3650}
          value={days}
          onChange={(value) => setDays(Number(value))}
          error={problem?.at('expires_in_days')}
        />
        <Input.Wrapper label="What it may do" error={problem?.at('permissions')} role="group">
          <Stack gap="xs" mt="xs" mb={4}>
            <Checkbox
              label="Your own sessions: launch, see, connect to and end them"
              checked={wanted.includes(OWN_SESSIONS)}
              onChange={(event) =>
                setWanted(event.currentTarget.checked ? [...wanted, OWN_SESSIONS] : wanted.filter((other) => other !== OWN_SESSIONS))
              }
            />
            {givable.length > 0 && <PermissionGrid held={wanted} mayGive={(permission) => may(me, permission)} onChange={setWanted} />}
          </Stack>
        </Input.Wrapper>
        <TextInput
          label="Zones"
          description="Names with commas between; empty: all"
          value={zones}
          onChange={(event) => setZones(event.currentTarget.value)}
          error={problem?.at('zones')}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Button type="submit" loading={create.isPending}>
          Make the key
        </Button>
      </Stack>
    </form>
  );
}
