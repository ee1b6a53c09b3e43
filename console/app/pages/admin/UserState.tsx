import { Badge, Group } from '@mantine/core';
import type { User } from '../../api/types';

/** What an account is, in badges. */
export function UserState({ user }: { user: User }) {
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
