import { Drawer } from '@mantine/core';
import type { ReactNode } from 'react';
import { useInertPage } from './useInertPage';

interface Props {
  title: string | undefined;
  opened: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** Details of one row, beside the list they came from. */
export function SidePanel({ title, opened, onClose, children }: Props) {
  useInertPage(opened);
  return (
    <Drawer
      opened={opened}
      onClose={onClose}
      title={title}
      position="right"
      size="lg"
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {children}
    </Drawer>
  );
}
