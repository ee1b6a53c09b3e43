import { Button, Group, NumberInput, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { may } from '../../api/permissions';
import { useChangeUser, useDeleteUser } from '../../api/people';
import { useMe } from '../../api/queries';
import type { User } from '../../api/types';
import { Facts } from '../../ui/Facts';
import { PasswordField } from '../../ui/PasswordField';
import { ProblemNote } from '../../ui/ProblemNote';
import { useConfirm } from '../../ui/useConfirm';
import { PolicyTable } from './PolicyTable';
import { UserState } from './UserState';

/** One account: what can be done to it, and the policy that holds for it. */
export function UserDetails({ user, onGone }: { user: User; onGone: () => void }) {
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
          { name: 'State', value: <UserState user={user} /> },
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
      {modify && <OwnLimit key={user.session_limit} user={user} onSave={(limit) => send({ session_limit: limit })} />}
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

/** A limit of the account's own stands above what groups say. */
function OwnLimit({ user, onSave }: { user: User; onSave: (limit: number | null) => void }) {
  const before = user.session_limit_own ? user.session_limit : '';
  const [limit, setLimit] = useState<number | ''>(before);
  return (
    <Group align="end">
      <NumberInput
        label="Session limit of their own"
        placeholder={`left to groups: ${user.session_limit}`}
        min={0}
        allowDecimal={false}
        value={limit}
        onChange={(value) => setLimit(value === '' ? '' : Number(value))}
        flex={1}
      />
      <Button variant="light" disabled={limit === before} onClick={() => onSave(limit === '' ? null : limit)}>
        Set
      </Button>
    </Group>
  );
}
