import { Button, Group, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { may } from '../../api/permissions';
import { useUsers } from '../../api/people';
import { useMe } from '../../api/queries';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { When } from '../../ui/When';
import { useTitle } from '../../ui/useTitle';
import { NewUser } from './NewUser';
import { UserDetails } from './UserDetails';
import { UserState } from './UserState';

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
            { label: 'State', render: (user) => <UserState user={user} /> },
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
      <ShowMore list={users} />
      <SidePanel opened={panel === 'new'} onClose={() => setPanel('none')} title="New user">
        <NewUser onDone={() => setPanel('none')} />
      </SidePanel>
      <SidePanel opened={panel === 'one'} onClose={() => setPanel('none')} title={shown?.name}>
        {shown && <UserDetails key={shown.id} user={shown} onGone={() => setPanel('none')} />}
      </SidePanel>
    </Stack>
  );
}
