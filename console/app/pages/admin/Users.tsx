import { Badge, Button, Checkbox, Group, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { type SubmitEvent, useState } from 'react';
import { may } from '../../api/permissions';
import { useChangeUser, useCreateUser, useDeleteUser, useUsers } from '../../api/people';
import { asProblem } from '../../api/problem';
import { useMe } from '../../api/queries';
import type { User } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { PasswordField } from '../../ui/PasswordField';
import { ProblemNote } from '../../ui/ProblemNote';
import { SidePanel } from '../../ui/SidePanel';
import { When } from '../../ui/When';
import { useConfirm } from '../../ui/useConfirm';
import { useTitle } from '../../ui/useTitle';
import { PolicyTable } from './PolicyTable';

export default function Users() {
  useTitle('Users');
  const me = useMe().data ?? null;
  const [search, setSearch] = useState('');
  const [searched] = useDebouncedValue(search, 250);
  const users = useUsers(searched);
  const items = users.data?.pages.flatMap((page) => page.items) ?? [];
  const [shownId, setShownId] = useState<string | null>(null);
  const [panel, setPanel] = useState<'none' | 'new' | 'one'>('none');
  const shown = items.find((user) => user.id === shownId);
  return (
    <Stack>
      <PageHead title="Users">
        <Group>
          <TextInput
            aria-label="Search by name"
            placeholder="Search by name"
            value={search}
            onChange={(event) => setSearch(event.currentTarget.value)}
          />
          {may(me, 'users:create') && <Button onClick={() => setPanel('new')}>New user</Button>}
        </Group>
      </PageHead>
      {users.isError && <ProblemNote error={users.error} onRetry={() => void users.refetch()} />}
      {users.isPending && <PageSkeleton />}
      {users.data && items.length === 0 && (
        <Empty title={search === '' ? 'Nobody has an account' : `Nobody's name has “${search}” in it`} />
      )}
      {items.length > 0 && (
        <DataTable
          caption="Users"
          rows={items}
          rowKey={(user) => user.id}
          columns={[
            { label: 'User', render: (user) => <strong>{user.name}</strong> },
            { label: 'State', render: (user) => <State user={user} /> },
            { label: 'Groups', render: (user) => user.groups.map((group) => group.name).join(', ') || '—' },
            { label: 'Sessions', numeric: true, render: (user) => `${user.sessions} of ${user.session_limit}` },
            { label: 'Made', render: (user) => <When at={user.created_at} /> },
            {
              label: 'Details',
              render: (user) => (
                <Button
                  size="compact-sm"
                  variant="light"
                  aria-label={`Show ${user.name}`}
                  onClick={() => {
                    setShownId(user.id);
                    setPanel('one');
                  }}
                >
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      {users.hasNextPage && (
        <Button variant="default" onClick={() => void users.fetchNextPage()} loading={users.isFetchingNextPage}>
          Show more
        </Button>
      )}
      <SidePanel opened={panel === 'new'} onClose={() => setPanel('none')} title="New user">
        <NewUser onDone={() => setPanel('none')} />
      </SidePanel>
      <SidePanel opened={panel === 'one'} onClose={() => setPanel('none')} title={shown?.name}>
        {shown && <Details key={shown.id} user={shown} onGone={() => setPanel('none')} />}
      </SidePanel>
    </Stack>
  );
}

function State({ user }: { user: User }) {
  const badge = (color: string, text: string) => (
    <Badge variant="light" color={color} radius="sm" tt="none">
      {text}
    </Badge>
  );
  return (
    <Group gap={4}>
      {user.disabled && badge('red', 'disabled')}
      {user.locked && badge('orange', 'locked')}
      {user.must_change_password && badge('yellow', 'new password due')}
      {!user.disabled && !user.locked && !user.must_change_password && badge('teal', 'active')}
      {user.role === 'admin' && badge('blue', 'administrator')}
    </Group>
  );
}

function NewUser({ onDone }: { onDone: () => void }) {
  const create = useCreateUser();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [mustChange, setMustChange] = useState(true);
  const [admin, setAdmin] = useState(false);
  const problem = create.error ? asProblem(create.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    create.mutate(
      { username: name, password, role: admin ? 'admin' : 'user', must_change_password: mustChange },
      { onSuccess: onDone },
    );
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack>
        <TextInput
          label="Name"
          autoComplete="off"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={problem?.at('username')}
          data-autofocus
        />
        <PasswordField
          label="Password"
          description="8 characters or more; tell it to the person by a safe way"
          autoComplete="new-password"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          error={problem?.at('password')}
        />
        <Checkbox
          label="They choose a password of their own at the first sign-in"
          checked={mustChange}
          onChange={(event) => setMustChange(event.currentTarget.checked)}
        />
        <Checkbox
          label="An administrator"
          aria-label="An administrator"
          description="May administer everything"
          checked={admin}
          onChange={(event) => setAdmin(event.currentTarget.checked)}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Button type="submit" loading={create.isPending}>
          Make the account
        </Button>
      </Stack>
    </form>
  );
}

function Details({ user, onGone }: { user: User; onGone: () => void }) {
  const me = useMe().data ?? null;
  const change = useChangeUser();
  const remove = useDeleteUser();
  const { ask, dialog } = useConfirm();
  const [name, setName] = useState(user.name);
  const [password, setPassword] = useState('');
  const modify = may(me, 'users:modify');
  const self = me?.id === user.id;
  const problem = change.error ?? remove.error;
  const send = (patch: Parameters<typeof change.mutate>[0]['patch'], onSuccess?: () => void) =>
    change.mutate({ id: user.id, patch }, { onSuccess });
  return (
    <Stack>
      <Facts
        facts={[
          { name: 'Id', value: user.id },
          { name: 'State', value: <State user={user} /> },
          { name: 'Groups', value: user.groups.map((group) => group.name).join(', ') || 'Everyone alone' },
        ]}
      />
      {problem && <ProblemNote error={problem} />}
      {modify && (
        <>
          <Group>
            <Button variant="default" disabled={self} onClick={() => send({ locked: !user.locked })}>
              {user.locked ? 'Unlock' : 'Lock'}
            </Button>
            <Button
              variant="default"
              disabled={self}
              onClick={() =>
                user.disabled
                  ? send({ disabled: false })
                  : ask({
                      title: `Disable ${user.name}?`,
                      text: 'They are signed out, and their live streams are cut. Their sessions stay.',
                      action: 'Disable',
                      onConfirm: () => send({ disabled: true }),
                    })
              }
            >
              {user.disabled ? 'Enable' : 'Disable'}
            </Button>
            {!user.must_change_password && (
              <Button variant="default" onClick={() => send({ must_change_password: true })}>
                Ask for a new password
              </Button>
            )}
          </Group>
          <Group align="end">
            <TextInput label="Name" value={name} onChange={(event) => setName(event.currentTarget.value)} flex={1} />
            <Button variant="light" disabled={name === user.name} onClick={() => send({ name })}>
              Rename
            </Button>
          </Group>
          <Group align="end">
            <PasswordField
              label="New password"
              autoComplete="new-password"
              value={password}
              onChange={(event) => setPassword(event.currentTarget.value)}
              flex={1}
            />
            <Button
              variant="light"
              disabled={password === ''}
              onClick={() => send({ password, must_change_password: true }, () => setPassword(''))}
            >
              Set
            </Button>
          </Group>
        </>
      )}
      <PolicyTable userId={user.id} />
      {may(me, 'users:delete') && !self && (
        <Button
          color="red"
          variant="light"
          loading={remove.isPending}
          onClick={() =>
            ask({
              title: `Delete ${user.name}?`,
              text: 'Their sessions end, and everything in them is removed. What they did stays in the audit log.',
              action: 'Delete',
              onConfirm: () => remove.mutate(user.id, { onSuccess: onGone }),
            })
          }
        >
          Delete the account
        </Button>
      )}
      {dialog}
    </Stack>
  );
}
