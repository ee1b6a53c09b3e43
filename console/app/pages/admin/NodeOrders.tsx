import { Alert, Button, Group } from '@mantine/core';
import { type NodeOrder, useOrderNode } from '../../api/deployment';
import { may } from '../../api/permissions';
import { useMe } from '../../api/queries';
import type { Node } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { useConfirm } from '../../ui/useConfirm';
import { isEmpty, whatIsLeft } from './drain';

const questions: Record<Exclude<NodeOrder, 'undrain'>, { text: string; action: string }> = {
  drain: {
    text: 'Nothing new comes to it; what runs on it goes on. The viewers of a proxy move to another one. Undrain takes it back.',
    action: 'Drain',
  },
  remove: {
    text: 'For a node that is gone for good: its sessions are lost, and it must join anew to come back. One that answers must have none.',
    action: 'Remove',
  },
};

/** Drain, then remove: what an administrator can ask of a node, and how far a drain is. */
export function NodeOrders({ node, onGone }: { node: Node; onGone: () => void }) {
  const me = useMe().data ?? null;
  const order = useOrderNode();
  const { ask, dialog } = useConfirm();
  const send = (what: NodeOrder) => order.mutate({ id: node.id, order: what }, what === 'remove' ? { onSuccess: onGone } : {});
  const asking = (what: Exclude<NodeOrder, 'undrain'>) =>
    ask({ title: `${questions[what].action} ${node.name}?`, ...questions[what], onConfirm: () => send(what) });
  if (node.role === 'web') return null;
  return (
    <>
      {node.state === 'draining' && (
        <Alert color={isEmpty(node) ? 'teal' : 'yellow'} variant="light" title={isEmpty(node) ? 'Drained' : 'Draining'}>
          {isEmpty(node)
            ? 'Nothing is on it any more: it can be stopped, upgraded or removed.'
            : `It takes nothing new. Still on it: ${whatIsLeft(node)}.`}
        </Alert>
      )}
      {order.isError && <ProblemNote error={order.error} />}
      <Group>
        {may(me, 'nodes:modify') && node.state === 'draining' && (
          <Button variant="default" loading={order.isPending} onClick={() => send('undrain')}>
            Undrain
          </Button>
        )}
        {may(me, 'nodes:modify') && node.state !== 'draining' && (
          <Button variant="default" loading={order.isPending} onClick={() => asking('drain')}>
            Drain
          </Button>
        )}
        {may(me, 'nodes:delete') && (
          <Button variant="light" color="red" loading={order.isPending} onClick={() => asking('remove')}>
            Remove
          </Button>
        )}
      </Group>
      {dialog}
    </>
  );
}
